"""The answer of ``plan`` as data: ways to train a network, and the command that trains in each way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from memtrain.answers.obstacle import Obstacle
from memtrain.cells.cell import Cell, cell_of
from memtrain.cells.row import Row
from memtrain.files import quoted
from memtrain.graph.node import Node
from memtrain.planning.remat.policy import BUDGET
from memtrain.run.allocation import FRESH
from memtrain.training.data import SYNTHETIC

ROUNDING = 1e-9
"""The largest difference allowed to sums in float64, as a share of the largest entry; rounding is less."""


class Kind(StrEnum):
    """The kind of an option."""

    KEEP_ALL = "keep_all"
    CHOSEN = "chosen"
    """The cheapest plan of rematerialisation within the memory, all else as it was given."""
    POINT = "point"
    """A point of the trade-off between memory and time: the cheapest plan for its budget."""
    RULE = "rule"
    """One of the rules sqrt and revolve."""
    LEVER = "lever"
    """One or more other settings, perhaps with a plan of rematerialisation on top."""
    BATCH = "batch"
    """The largest batch that fits, where the given one does not."""


@dataclass(frozen=True)
class Option:
    """A way to train the network of a cell, with its predicted and measured figures."""

    kind: Kind
    name: str
    cell: Cell
    predicted_peak_bytes: int
    predicted_extra: float
    """The time, or FLOPs, that an iteration takes beyond one that keeps all, as a share of that."""
    abstract_count: int
    """Stages that the abstract plan computes again."""
    executed_count: int
    """Stages that are computed again because a later step reads their values."""
    values: tuple[tuple[Node, int], ...]
    """The forward values that backward reads, and how often each is computed again; 0 means kept."""
    least_bytes: int
    """The smallest budget that a plan could have in this cell."""
    exact: bool = True
    """Whether its gradients must equal those of keep-all in every bit; micro-batches round differently."""
    row: Row | None = None
    time_ratio: float | None = None
    """The time of its iteration ÷ that of keep-all, run in turns."""
    step_s: float | None = None
    differing: tuple[str, ...] | None = None
    """The gradients and parameters that are not the same in every bit; ``None``: not compared.

    Those of micro-batches are compared in float64 (see `memtrain.answers.trial`).
    """
    largest_difference: float | None = None
    """The largest difference of any gradient or parameter, as a share of the largest entry."""
    changed_by_plan: tuple[str, ...] = ()
    """Values that differ from those of the same micro-batches without a plan. There must be none."""
    failure: str = ""
    """Why its comparison with keep-all ended with an error, which is a fault; else empty."""
    notes: tuple[str, ...] = ()

    @property
    def ledger_peak_bytes(self) -> int | None:
        """As measured; ``None`` where it was not."""
        return None if self.row is None else self.row["ledger_peak_bytes"]

    @property
    def heap_peak_bytes(self) -> int | None:
        """As measured; ``None`` where it was not."""
        return None if self.row is None else self.row["heap_peak_bytes"]

    @property
    def measured_extra(self) -> float | None:
        """The measured extra time, as a share of that of keep-all."""
        return None if self.time_ratio is None else self.time_ratio - 1

    @property
    def same(self) -> bool:
        """Whether gradients and parameters are as they must be, if they were compared.

        A plan must give the same bits, micro-batches the same up to rounding.
        """
        if self.exact:
            return not self.differing
        return not self.changed_by_plan and (self.largest_difference or 0) <= ROUNDING

    @property
    def ok(self) -> bool:
        """Whether the measured figures and gradients are as predicted."""
        fine = self.row is None or (self.row.ok and self.row.agrees("heap") is not False)
        return fine and self.same and not self.failure


@dataclass(frozen=True)
class Ways:
    """A cell, a memory, and all ways to make the cell fit into the memory."""

    cell: Cell
    memory_bytes: int | None
    keep_all: Option
    chosen: Option | None
    """The answer: keep-all, a plan, or one of ``levers``; ``None`` without a memory, or if nothing fits."""
    points: tuple[Option, ...] = ()
    """The trade-off: the cheapest plans from the smallest peak to keep-all."""
    rules: tuple[Option, ...] = ()
    levers: tuple[Option, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    """Names and peaks of levers that would need more memory than changing nothing."""
    parameter_bytes: int = 0
    least_bytes: int | None = None
    """The least memory that any way needs; known only where nothing fits."""
    smaller: Option | None = None
    """The largest batch that fits, where nothing makes the given batch fit; ``None``: no batch does."""
    most_accumulate: int | None = None
    """The most micro-batches that were tried, where that is fewer than the batch has examples."""
    obstacle: Obstacle | None = None
    """The peak of keep-all, if no plan has a smaller one."""

    @property
    def options(self) -> tuple[Option, ...]:
        """Every option that can be run, each once."""
        chosen = [self.chosen] if self.chosen is not None and self.chosen.kind is Kind.CHOSEN else []
        smaller = [] if self.smaller is None else [self.smaller]
        return (self.keep_all, *chosen, *self.points, *self.rules, *self.levers, *smaller)


def command_of(cell: Cell) -> str:
    """The command that trains the network of a cell; a sweep of this cell where its data are synthetic."""
    words = ["memtrain", "train"] if cell.data != SYNTHETIC else ["memtrain", "sweep", "--mode", "train"]
    options = _settings(cell)
    if cell.data != SYNTHETIC and cell.policy.startswith(BUDGET):
        options["allocation"] = FRESH  # as it was planned and measured; an arena can need a few bytes more
    return _command(words, options)


def plan_command(cell: Cell, memory_bytes: int) -> str:
    """The command that finds ways to fit the network of a cell into a memory."""
    return _command(["memtrain", "plan", "--memory", f"{memory_bytes}B"], _settings(cell))


def _settings(cell: Cell) -> dict[str, str]:
    """The options that describe a cell. Options at their default are left out."""
    synthetic = cell.data == SYNTHETIC
    columns, default = cell.columns(), cell_of().columns()
    told = {"depth", "width", "input_size", "output_size", "batch", "steps", "threads"}
    if synthetic:
        width = cell["width"]
        hidden = width if isinstance(width, tuple) else (width,) * columns["depth"]
        sizes = (columns["input_size"], *hidden, columns["output_size"])
        options = {"layers": ",".join(map(str, sizes)), "batch": str(cell.batch)}
        told.add("data")
    else:
        options = {name: str(columns[name]) for name in ("depth", "width", "batch")}
    return options | {
        name: str(value)
        for name, value in columns.items()
        if name not in told and value is not None and value != default[name]
    }


def _command(words: list[str], options: dict[str, str]) -> str:
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", *([] if value == "True" else [value])]
    return " ".join(map(quoted, words))
