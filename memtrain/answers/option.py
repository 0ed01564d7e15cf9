"""The answer of ``plan`` as data: ways to train a network, and the command for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from memtrain.answers.obstacle import Obstacle
from memtrain.cells.cell import Cell, cell_of
from memtrain.cells.row import Row
from memtrain.cells.usual import with_trained
from memtrain.files import quoted
from memtrain.graph.node import Node
from memtrain.planning.remat.policy import BUDGET
from memtrain.run.allocation import FRESH
from memtrain.training.sources import SYNTHETIC, usual_data

ROUNDING = 1e-9
"""The largest difference that sums in float64 may have, as a share of the largest entry. Rounding is less."""


class Kind(StrEnum):
    """The kind of an option."""

    KEEP_ALL = "keep_all"
    CHOSEN = "chosen"
    """The cheapest plan of rematerialisation within the memory, with all other settings as given."""
    POINT = "point"
    """A point of the trade-off between memory and time: the cheapest plan for its budget."""
    RULE = "rule"
    """The policy sqrt or revolve, whose plan does not depend on a budget."""
    LEVER = "lever"
    """One or more other settings, possibly with a plan of rematerialisation in addition."""
    BATCH = "batch"
    """The largest batch that fits, if the given batch does not."""


@dataclass(frozen=True)
class Option:
    """A way to train the network of a cell, with its predicted and measured figures."""

    kind: Kind
    name: str
    cell: Cell
    predicted_peak_bytes: int
    predicted_extra: float
    """The extra time (or FLOPs) of an iteration, as a share of an iteration of keep-all."""
    abstract_count: int
    """The number of stages that the abstract plan recomputes."""
    executed_count: int
    """The number of stages that are recomputed because a later step reads their values."""
    values: tuple[tuple[Node, int], ...]
    """The forward values that backward reads, each with its number of recomputations; 0 means kept."""
    least_bytes: int
    """The smallest budget for which this cell has a plan."""
    exact: bool = True
    """Whether its gradients must have the same bits as those of keep-all. Micro-batches round differently."""
    row: Row | None = None
    time_ratio: float | None = None
    """The time of an iteration ÷ the time of an iteration of keep-all. The two were run in turns."""
    step_s: float | None = None
    differing: tuple[str, ...] | None = None
    """The gradients and parameters that differ from keep-all in any bit; ``None`` if they were not compared.

    Micro-batches are compared in float64 (see `memtrain.answers.trial`).
    """
    largest_difference: float | None = None
    """The largest difference of any gradient or parameter, as a share of the largest entry."""
    changed_by_plan: tuple[str, ...] = ()
    """Values that differ from the same micro-batches without a plan. There must be none."""
    failure: str = ""
    """The fault with which the comparison with keep-all ended; empty if there was none."""
    notes: tuple[str, ...] = ()

    @property
    def ledger_peak_bytes(self) -> int | None:
        """The measured ledger peak; ``None`` if it was not measured."""
        return None if self.row is None else self.row["ledger_peak_bytes"]

    @property
    def heap_peak_bytes(self) -> int | None:
        """The measured heap peak; ``None`` if it was not measured."""
        return None if self.row is None else self.row["heap_peak_bytes"]

    @property
    def measured_extra(self) -> float | None:
        """The measured extra time, as a share of the time of keep-all; ``None`` if it was not measured."""
        return None if self.time_ratio is None else self.time_ratio - 1

    @property
    def same(self) -> bool:
        """Whether gradients and parameters are as required, or were not compared.

        A plan must give the same bits. Micro-batches must give the same values up to rounding.
        """
        if self.exact:
            return not self.differing
        return not self.changed_by_plan and (self.largest_difference or 0) <= ROUNDING

    @property
    def ok(self) -> bool:
        """Whether no measured figure or gradient contradicts the prediction."""
        fine = self.row is None or (self.row.ok and self.row.agrees("heap") is not False)
        return fine and self.same and not self.failure


@dataclass(frozen=True)
class Ways:
    """A cell, a memory, and all ways to make the cell fit into the memory."""

    cell: Cell
    memory_bytes: int | None
    keep_all: Option
    chosen: Option | None
    """The answer: keep-all, a plan, or one of ``levers``. ``None`` if there is no memory, or nothing fits."""
    points: tuple[Option, ...] = ()
    """The trade-off: the cheapest plans from the smallest peak to keep-all."""
    rules: tuple[Option, ...] = ()
    levers: tuple[Option, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    """Names and peaks of levers that would need more memory than keep-all."""
    parameter_bytes: int = 0
    least_bytes: int | None = None
    """The least memory that any way needs; known only if nothing fits."""
    smaller: Option | None = None
    """The largest batch that fits, if nothing makes the given batch fit; ``None`` if no batch fits."""
    most_accumulate: int | None = None
    """The most micro-batches that were tried, if they are fewer than the examples of the batch."""
    obstacle: Obstacle | None = None
    """The peak of keep-all, if no plan has a smaller one."""

    @property
    def options(self) -> tuple[Option, ...]:
        """Every option that can be run, each once."""
        chosen = [self.chosen] if self.chosen is not None and self.chosen.kind is Kind.CHOSEN else []
        smaller = [] if self.smaller is None else [self.smaller]
        return (self.keep_all, *chosen, *self.points, *self.rules, *self.levers, *smaller)

    def changed_by(self, option: Option) -> list[str]:
        """The columns in which an option changes the training itself: the optimiser and the dtype."""
        return [name for name in ("optimizer", "dtype") if option.cell[name] != self.cell[name]]


def command_of(cell: Cell) -> str:
    """The command that trains the network of a cell. With synthetic data it is a sweep of this cell."""
    if cell.data == SYNTHETIC:
        return _command(["memtrain", "sweep", "--mode", "train"], _settings(cell))
    options = _settings(cell, with_trained({"model": cell["model"]}))
    options.pop("allocation", None)
    if cell.policy.startswith(BUDGET):
        options["allocation"] = FRESH  # as in the prediction; an arena can need a few bytes more
    return _command(["memtrain", "train"], options)


def plan_command(cell: Cell, memory_bytes: int) -> str:
    """The command that finds ways to fit the network of a cell into a memory."""
    return _command(["memtrain", "plan", "--memory", f"{memory_bytes}B"], _settings(cell))


def _settings(cell: Cell, usual: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The options that describe a cell. Options at their default, or as ``usual``, are left out."""
    synthetic = cell.data == SYNTHETIC
    columns, default = cell.columns(), cell_of(model=cell["model"]).columns()
    default |= {"data": usual_data(cell.network.reads), **(usual or {}), "model": cell_of()["model"]}
    told = {"depth", "width", "batch", "steps", "threads"}
    told.update(() if synthetic else cell.network.sizes_from_data)
    if synthetic and cell["input_size"] is not None:
        width = cell["width"]
        hidden = width if isinstance(width, tuple) else (width,) * columns["depth"]
        sizes = (columns["input_size"], *hidden, columns["output_size"])
        options = {"layers": ",".join(map(str, sizes)), "batch": str(cell.batch)}
        told.update(("data", "input_size", "output_size"))
    else:
        options = {
            name: str(columns[name]) for name in ("depth", "width", "batch") if columns[name] is not None
        }
    return options | {
        name: str(value)
        for name, value in columns.items()
        if name not in told and value is not None and value != default[name]
    }


def _command(words: list[str], options: dict[str, str]) -> str:
    for name, value in options.items():
        option = name.replace("_", "-")
        words += [f"--no-{option}"] if value == "False" else [f"--{option}"]
        words += [] if value in ("True", "False") else [value]
    return " ".join(map(quoted, words))
