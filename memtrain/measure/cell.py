"""A cell: one point of a sweep. It says everything that its figures depend on, but for the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from memtrain.errors import SpecError, unknown_choice
from memtrain.graph.builder import no_collection
from memtrain.models.mlp import MLP, build, check_integer
from memtrain.plan.cost import CostOf, Rates, flops
from memtrain.plan.policy import BUDGET, read_policy
from memtrain.plan.rematerialisation import Plan
from memtrain.plan.schedule import Schedule
from memtrain.run.allocation import ALLOCATIONS, FRESH, PACKED, planned
from memtrain.train.data import DIGITS
from memtrain.train.iteration import DEFERRED, UPDATES, accumulating, check_accumulate, inference
from memtrain.train.optimizers import LEARNING_RATES, OPTIMIZERS


class Mode(StrEnum):
    """What a row measures."""

    TRAIN = "train"
    INFER = "infer"

    @property
    def noun(self) -> str:
        """The mode as a word in a sentence."""
        return {"train": "training", "infer": "inference"}[self]


AUTO = "auto"
"""Fresh arrays where memory is measured, which shows the allocator's truth; packed where time is."""

SECONDS, FLOPS = "seconds", "flops"
COSTS = (SECONDS, FLOPS)
"""What a ``budget`` policy spares: time, at this machine's rates, or operations, the same anywhere."""

LATER = ("accumulate", "cost")
"""Fields that came after the contract of the columns: they stand last in a row, and in a key if they are not
what they are by default."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "model": ("mlp",),
    "optimizer": OPTIMIZERS,
    "update": UPDATES,
    "allocation": (AUTO, *ALLOCATIONS),
    "cost": COSTS,
}
_LEAST = {
    **dict.fromkeys(("batch", "input_size", "output_size", "threads", "accumulate"), 1),
    **dict.fromkeys(("depth", "seed"), 0),
    "steps": 2,
}
MOST_DEPTH = 100_000
_MOST = {"depth": MOST_DEPTH, "threads": 1024}
"""Beyond these a cell is a slip of the pen: its graph takes minutes to build, or BLAS clamps the number."""


@dataclass(frozen=True)
class Cell:
    """The configuration of a cell, in the order of the columns of a row (but for those of `LATER`).

    ``width`` is the width of all hidden layers, or one width per layer. ``steps`` is the number of
    iterations that a memory meter watches (at least 2, so that the optimiser's state is in use at the
    peak).
    """

    model: str = "mlp"
    depth: int = 1
    width: int | tuple[int, ...] = 256
    batch: int = 64
    activation: str = "relu"
    bias: bool = False
    optimizer: str = "sgd"
    l2: float = 1e-4
    dtype: str = "float32"
    data: str = DIGITS
    input_size: int = 64
    output_size: int = 10
    policy: str = "none"
    update: str = DEFERRED
    allocation: str = AUTO
    threads: int = 1
    steps: int = 3
    seed: int = 0
    memory_limit_bytes: int | None = None
    accumulate: int = 1
    cost: str = SECONDS

    def __post_init__(self) -> None:
        if not isinstance(self.policy, str):
            raise SpecError(f"policy {self.policy!r}", "allowed: a word", "give none")
        object.__setattr__(self, "policy", str(read_policy(self.policy)))
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise unknown_choice(name, getattr(self, name), choices)
        for name, least in _LEAST.items():
            check_integer(name, getattr(self, name), least)
        for name, most in _MOST.items():
            if getattr(self, name) > most:
                raise SpecError(
                    f"{name} {getattr(self, name):,}", f"allowed: at most {most:,}", "give a smaller number"
                )
        widths = self.width if isinstance(self.width, tuple) else (self.width,)
        for width in widths:
            check_integer("width", width, 1)
        if not isinstance(self.bias, bool):
            raise SpecError(f"bias {self.bias!r}", "allowed: True or False", "give one of them")
        if self.memory_limit_bytes is not None:
            check_integer("memory limit", self.memory_limit_bytes, 1)
            if self.threads != 1:
                raise SpecError(
                    f"a memory limit with {self.threads} threads",
                    "allowed: one thread, for each more takes memory of BLAS's own",
                    "leave out one of the two",
                )
        if isinstance(self.width, tuple) and len(self.width) != self.depth:
            raise SpecError(
                f"{len(self.width)} widths for depth {self.depth}",
                "allowed: one width, or one per hidden layer",
                "make them agree",
            )
        check_accumulate(self.accumulate, self.batch)
        self.spec()

    def spec(self) -> MLP:
        """The network of the cell. Raises ``SpecError`` for one that cannot exist."""
        hidden = (self.width,) * self.depth if isinstance(self.width, int) else self.width
        return MLP(
            batch=self.batch,
            input_size=self.input_size,
            hidden=hidden,
            output_size=self.output_size,
            activation=self.activation,
            bias=self.bias,
            l2=self.l2,
            dtype=self.dtype,
        )

    def schedule(self, mode: Mode, rates: Rates | None = None) -> Schedule:
        """The steps of one iteration, as `plan` finds them."""
        return self.plan(mode, rates).schedule

    @no_collection()
    def plan(self, mode: Mode, rates: Rates | None = None) -> Plan:
        """The policy applied to the schedule that keeps all.

        A plan that spares seconds needs the ``rates`` of a machine; without them it spares FLOPs. Raises
        ``BudgetError`` where the policy's budget is too small.
        """
        return planned(self.keep_all(mode), read_policy(self.policy), self.cost_of(rates), self.allocation)

    @no_collection()
    def keep_all(self, mode: Mode) -> Schedule:
        """The steps of one iteration that keeps all that backward reads."""
        if Mode(mode) is Mode.INFER:
            return inference(build(self.spec()))
        rate = LEARNING_RATES[self.optimizer]
        return accumulating(self.spec(), self.accumulate, self.optimizer, rate, self.update)

    def cost_of(self, rates: Rates | None) -> CostOf:
        """What a step counts in plans: seconds at ``rates`` where the plan spares them, else FLOPs."""
        return rates.seconds if rates is not None and self.plans_by_time else flops

    @property
    def plans_by_time(self) -> bool:
        """Whether the schedule depends on how fast this machine is."""
        return self.cost == SECONDS and read_policy(self.policy).kind == BUDGET

    def allocation_for(self, *, timing: bool) -> str:
        """Fresh or packed: what the meters of memory run with, or that of time."""
        if self.allocation == AUTO:
            return PACKED if timing else FRESH
        return self.allocation

    def columns(self) -> dict[str, object]:
        """The configuration as a row writes it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if not isinstance(self.width, int):
            values["width"] = "-".join(map(str, self.width))
        return values

    def key(self, mode: Mode) -> str:
        """The same for the same cell and mode, always."""
        columns = self.columns()
        later = [f"{name}={columns[name]}" for name in LATER if columns[name] != getattr(Cell, name)]
        return ",".join([*(str(value) for name, value in columns.items() if name not in LATER), mode, *later])


def read_cell(values: Mapping[str, Any]) -> Cell:
    """A cell from its JSON. Raises ``SpecError`` for one that cannot exist."""
    width = values["width"]
    return Cell(**{**values, "width": tuple(width) if isinstance(width, list) else width})
