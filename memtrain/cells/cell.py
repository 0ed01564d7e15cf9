"""A cell: one point of a sweep. Its figures depend only on the cell and the machine."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from memtrain.cells.columns import BY_NAME, CELL_NAMES, ENGINES, NETWORK_NAMES, RUN_NAMES
from memtrain.cells.engine import NUMPY, OF_PYTORCH, TORCH, check_engine, check_predicted
from memtrain.cells.kinds import written
from memtrain.engines import iteration as recording
from memtrain.engines.iteration import Recorded
from memtrain.engines.loop import Loop
from memtrain.errors import SpecError, check_integer, unknown_choice
from memtrain.graph.builder import no_collection
from memtrain.models.families import columns_of, make_network
from memtrain.models.network import Network
from memtrain.planning.cost import Rates, flops
from memtrain.planning.remat.policy import BUDGET, NONE, read_policy
from memtrain.planning.remat.rematerialisation import Plan
from memtrain.planning.schedule import Schedule
from memtrain.run.allocation import ALLOCATIONS, FRESH, PACKED, planned
from memtrain.training.iteration import (
    DEFERRED,
    UPDATES,
    accumulating,
    check_accumulate,
    evaluation,
    inference,
)
from memtrain.training.keeping import AFTER_UPDATE, GRADIENTS, Keeping
from memtrain.training.optimizers import LEARNING_RATES, OPTIMIZERS
from memtrain.training.sources import DIGITS


class Mode(StrEnum):
    """The mode of a row: training or inference."""

    TRAIN = "train"
    INFER = "infer"
    EVAL_GRAD = "eval-grad"
    """Inference that stores what backward would read, as PyTorch does without ``torch.no_grad``."""

    @property
    def noun(self) -> str:
        """The mode as a word in a sentence."""
        return {"train": "training", "infer": "inference", "eval-grad": "inference with gradients on"}[self]


BOTH = (Mode.TRAIN, Mode.INFER)
"""The two modes that are compared."""


AUTO = "auto"
"""The allocation that is fresh when memory is measured, so that the allocator sees every array, and packed
when time is measured."""

SECONDS, FLOPS = "seconds", "flops"
COSTS = (SECONDS, FLOPS)
"""The costs that a ``budget`` plan can minimise: seconds at this machine's rates, or FLOPs."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": OPTIMIZERS,
    "update": UPDATES,
    "allocation": (AUTO, *ALLOCATIONS),
    "cost": COSTS,
    "engine": ENGINES,
    "gradients": GRADIENTS,
}
_LEAST = {**dict.fromkeys(("batch", "threads", "accumulate", "steps"), 1), "seed": 0}
MOST_DEPTH = 100_000
MOST_THREADS = 1024
"""Larger values are almost surely typing mistakes. A graph of that depth takes minutes to build."""


@dataclass(frozen=True)
class Cell:
    """A network, a batch, and how it is run. Raises ``SpecError`` for values that no cell can have.

    ``steps`` is the number of iterations that a memory meter watches. With 1 it watches the first, in which
    PyTorch has no state of the optimiser before the update. `cell_of` makes a cell from its columns.
    """

    network: Network
    batch: int = 64
    optimizer: str = "sgd"
    data: str = DIGITS
    policy: str = NONE
    update: str = DEFERRED
    allocation: str = AUTO
    threads: int = 1
    steps: int = 3
    seed: int = 0
    memory_limit_bytes: int | None = None
    accumulate: int = 1
    cost: str = SECONDS
    engine: str = NUMPY
    foreach: bool = False
    fused: bool = False
    inplace: bool = False
    gradients: str = AFTER_UPDATE
    retain_graph: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.policy, str):
            raise SpecError(f"policy {self.policy!r} is not a text", "give 'none', for instance")
        object.__setattr__(self, "policy", str(read_policy(self.policy)))
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise unknown_choice(name, getattr(self, name), choices)
        for name, least in _LEAST.items():
            check_integer(name, getattr(self, name), least)
        for name, given, most in (
            ("depth", self.network.depth, MOST_DEPTH),
            ("threads", self.threads, MOST_THREADS),
        ):
            if given > most:
                raise SpecError(f"{name} {given:,} is too large", f"give at most {most:,}")
        if self.memory_limit_bytes is not None:
            check_integer("memory limit", self.memory_limit_bytes, 1)
            if self.threads != 1:
                raise SpecError(
                    f"a memory limit needs one thread, not {self.threads}: BLAS takes memory for each thread",
                    "drop --threads or the limit",
                )
        check_accumulate(self.accumulate, self.batch)
        if self.retain_graph and (self.policy != NONE or self.accumulate != 1):
            other = "policy" if self.policy != NONE else "accumulate"
            raise SpecError(
                f"retain-graph keeps what {other} {getattr(self, other)} frees", "drop one of the two options"
            )
        check_engine(self)

    def __getitem__(self, column: str) -> Any:
        """The value of a column; ``None`` if it does not apply to the family. Raises ``KeyError``."""
        if column in RUN_NAMES:
            return getattr(self, column)
        if column not in NETWORK_NAMES:
            raise KeyError(column)
        return self.network.family if column == "model" else getattr(self.network, column, None)

    def changed(self, **columns: Any) -> Cell:
        """The same cell with other values of some columns, of the network or of the run."""
        run = {name: value for name, value in columns.items() if name in RUN_NAMES}
        network = {name: value for name, value in columns.items() if name not in run}
        return replace(self, **run, network=self.network.changed(**network) if network else self.network)

    def in_numpy(self) -> Cell:
        """The cell in which memtrain's own engine runs the same network."""
        return self.changed(engine=NUMPY, **dict.fromkeys(OF_PYTORCH, False))

    @property
    def keeping(self) -> Keeping:
        """What an iteration of training keeps."""
        return Keeping(self.gradients, self.retain_graph)

    @property
    def loop(self) -> Loop:
        """The loop in which PyTorch trains the network."""
        how = self.foreach, self.fused, self.inplace, self.accumulate
        return Loop(self.optimizer, *how, self.keeping)

    def schedule(self, mode: Mode, rates: Rates | None = None) -> Schedule:
        """The schedule of one iteration. Raises ``BudgetError`` if the budget of the policy is too small."""
        return self.plan(mode, rates).schedule

    @no_collection()
    def plan(self, mode: Mode, rates: Rates | None = None) -> Plan:
        """The policy of the cell, applied to the schedule that keeps all.

        A plan that minimises seconds uses ``rates``. Without them it minimises FLOPs.
        """
        cost = rates.seconds if rates is not None and self.plans_by_time else flops
        return planned(self.keep_all(mode), read_policy(self.policy), cost, self.allocation)

    @no_collection()
    def keep_all(self, mode: Mode) -> Schedule:
        """The schedule of one iteration that keeps all values which backward reads."""
        if self.engine == TORCH:
            return self.recorded(mode).schedule
        check_predicted(self)
        if Mode(mode) is not Mode.TRAIN:
            model = self.network.build(self.batch)
            return inference(model) if Mode(mode) is Mode.INFER else evaluation(model)
        how = self.optimizer, LEARNING_RATES[self.optimizer], self.update, self.keeping
        return accumulating(self.network, self.batch, self.accumulate, *how)

    def recorded(self, mode: Mode) -> Recorded:
        """What PyTorch does in one iteration: its schedule, and what its autograd saves."""
        if Mode(mode) is not Mode.TRAIN:
            with_history = Mode(mode) is Mode.EVAL_GRAD
            return recording.inference(self.network, self.batch, self.loop, with_history=with_history)
        return recording.training(self.network, self.batch, self.loop, first=self.steps == 1)

    @property
    def plans_by_time(self) -> bool:
        """Whether the schedule depends on the speed of this machine."""
        return self.cost == SECONDS and read_policy(self.policy).kind == BUDGET

    def allocation_for(self, *, timing: bool) -> str:
        """The allocation, fresh or packed, for the time meter (``timing``) or for the memory meters."""
        if self.allocation == AUTO:
            return PACKED if timing and self.engine == NUMPY else FRESH
        return self.allocation

    def values(self) -> dict[str, Any]:
        """The values of all columns that describe the cell. `cell_of` makes an equal cell from them."""
        return {name: self[name] for name in CELL_NAMES}

    def besides(self, *names: str) -> tuple[tuple[str, Any], ...]:
        """The columns that describe the cell, with their values, except those with the given names."""
        return tuple((name, value) for name, value in self.values().items() if name not in names)

    def columns(self) -> dict[str, Any]:
        """The values of all columns that describe the cell. As in a row, several widths are one text."""
        return {name: written(value) for name, value in self.values().items()}

    def key(self, mode: Mode) -> str:
        """A text that identifies cell and mode in every version: the columns not at their defaults.

        Columns that the family lacks are left out.
        """
        told = {
            name: value
            for name, value in self.values().items()
            if value is not None and value != BY_NAME[name].default
        }
        return json.dumps({**told, "mode": mode}, separators=(",", ":"))


def cell_of(**columns: Any) -> Cell:
    """The cell with the given columns. Columns that are not given have their defaults. Raises ``SpecError``.

    A column that does not apply to the family may only be ``None``.
    """
    for name in columns:
        if name not in CELL_NAMES:
            raise unknown_choice("option", name, CELL_NAMES)
    family = columns.get("model", BY_NAME["model"].default)
    own = columns_of(family)
    optional = {name for name in NETWORK_NAMES if BY_NAME[name].default is None or name not in own}
    network = {
        name: columns[name]
        for name in NETWORK_NAMES[1:]
        if name in columns and not (columns[name] is None and name in optional)
    }
    for name in network:
        if name not in own:
            raise SpecError(
                f"a network of the family {family} has no {name}", f"drop {name}; it has {', '.join(own)}"
            )
    if isinstance(network.get("width"), list):
        network["width"] = tuple(network["width"])
    run = {name: columns[name] for name in RUN_NAMES if name in columns}
    return Cell(make_network(family, network), **run)
