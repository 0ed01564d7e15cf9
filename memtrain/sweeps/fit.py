"""What would make a cell fit: plans of rematerialisation and other levers, predicted, run and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from memtrain.errors import BudgetError, ChildFailed, MeterUnavailable
from memtrain.graph.node import Node
from memtrain.measure.cell import SECONDS, Cell, Mode
from memtrain.measure.client import SERVERS, measure
from memtrain.measure.machine import ROOM
from memtrain.measure.rates import rates
from memtrain.measure.row import Row, measured_row, needed_bytes, predicted_row
from memtrain.plan.chain import chains
from memtrain.plan.cost import CostOf, flops
from memtrain.plan.liveness import analyse
from memtrain.plan.policy import BUDGET, NONE, REVOLVE, SQRT, Policy
from memtrain.plan.rematerialisation import smallest_budget
from memtrain.plan.schedule import Schedule
from memtrain.run.allocation import FRESH, peak_bytes
from memtrain.sweeps.files import quoted
from memtrain.train.data import SYNTHETIC
from memtrain.train.iteration import EAGER

MOST_EXTRA = 1.5
"""Policies that make an iteration take more than this many more iterations are no help to anyone."""

METERS = ("ledger", "heap")


class PairMeasure(Protocol):
    """As `memtrain.measure.client.measure`: the figures of a meter for a cell, or for a cell and another."""

    def __call__(
        self, meter: str, cell: Cell, mode: Mode, timeout_s: float | None = None, other: Cell | None = None
    ) -> dict[str, Any]:
        """Raises ``ChildFailed`` and ``MeterUnavailable``."""


class Kind(StrEnum):
    """What an option is among the others."""

    KEEP_ALL = "keep_all"
    CHOSEN = "chosen"
    POINT = "point"
    """Of the frontier of plans: the cheapest for its budget."""
    RULE = "rule"
    """sqrt and revolve."""
    LEVER = "lever"


@dataclass(frozen=True)
class Option:
    """A way to train the network of a cell, and what is known of it."""

    kind: Kind
    name: str
    cell: Cell
    predicted_peak_bytes: int
    predicted_extra: float
    """The time, or FLOPs, that an iteration takes beyond one that keeps all, as a share of that."""
    abstract_count: int
    """Stages computed again as the plan says it."""
    executed_count: int
    """Stages computed again because somebody reads what they give."""
    values: tuple[tuple[Node, int], ...]
    """What backward reads of forward, and how often it is computed again: 0 is kept."""
    least_bytes: int
    """The smallest budget that a plan could have in this cell."""
    exact: bool = True
    """Whether its gradients are those of keep-all in every bit; micro-batches round otherwise."""
    row: Row | None = None
    time_ratio: float | None = None
    """Of its iteration to that which keeps all, run in turns."""
    step_s: float | None = None
    differing: tuple[str, ...] | None = None
    """The gradients and parameters that are not the same in every bit; ``None``: not compared."""
    largest_difference: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def ledger_peak_bytes(self) -> int | None:
        """As measured; ``None`` where it was not."""
        return None if self.row is None else self.row.figures.ledger_peak_bytes

    @property
    def heap_peak_bytes(self) -> int | None:
        """As measured; ``None`` where it was not."""
        return None if self.row is None else self.row.figures.heap_peak_bytes

    @property
    def measured_extra(self) -> float | None:
        """As ``predicted_extra``, in time measured."""
        return None if self.time_ratio is None else self.time_ratio - 1

    @property
    def ok(self) -> bool:
        """Whether what was measured is as predicted, gradients included."""
        fine = self.row is None or (self.row.ok and self.row.agrees("heap") is not False)
        return fine and not (self.exact and self.differing)


@dataclass(frozen=True)
class Fit:
    """A cell, a memory, and all that would make it fit."""

    cell: Cell
    memory_bytes: int | None
    keep_all: Option
    chosen: Option | None
    """The cheapest way within the memory; ``None`` where no memory was given, or nothing fits."""
    points: tuple[Option, ...] = ()
    """The frontier, from the smallest peak to keep-all."""
    rules: tuple[Option, ...] = ()
    levers: tuple[Option, ...] = ()

    @property
    def options(self) -> tuple[Option, ...]:
        """Every one of them."""
        chosen = () if self.chosen is None or self.chosen.kind is Kind.KEEP_ALL else (self.chosen,)
        return (self.keep_all, *chosen, *self.points, *self.rules, *self.levers)


def find_fit(cell: Cell, memory_bytes: int | None, points: int = 0) -> Fit:
    """What would make ``cell``, under policy none, fit into a memory; with so many points of the frontier.

    Nothing is run, but that this machine's rates may be measured. A memory too small for any plan leaves
    ``chosen`` empty.
    """
    finder = _Finder(replace(cell, policy=NONE, steps=2))
    keep_all = finder.keep_all
    chosen: Option | None = None
    if memory_bytes is not None:
        if keep_all.predicted_peak_bytes <= memory_bytes:
            chosen = keep_all
        else:
            with suppress(BudgetError):
                chosen = finder.within(memory_bytes, Kind.CHOSEN)
    return Fit(
        cell=finder.cell,
        memory_bytes=memory_bytes,
        keep_all=keep_all,
        chosen=chosen,
        points=tuple(finder.points(points)),
        rules=tuple(finder.rules()) if points else (),
        levers=tuple(finder.levers(memory_bytes)),
    )


class _Finder:
    """Predicts options of one cell."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self._cost: CostOf = rates().seconds if cell.cost == SECONDS else flops
        self._keep_all_cost = self._total(cell.schedule(Mode.TRAIN))
        self.keep_all = self._option(Kind.KEEP_ALL, NONE, cell)

    def within(self, budget_bytes: int, kind: Kind) -> Option:
        """The cheapest plan within a budget. Raises ``BudgetError``."""
        policy = str(Policy(BUDGET, budget_bytes))
        return self._option(kind, policy, replace(self.cell, policy=policy))

    def points(self, count: int) -> list[Option]:
        """Plans for so many budgets at equal distances, from the smallest possible to what keep-all needs."""
        least, most = self.keep_all.least_bytes, self.keep_all.predicted_peak_bytes
        found: list[Option] = []
        for place in range(count):
            budget = most if count == 1 else least + (most - least) * place // (count - 1)
            plan = self.within(budget, Kind.POINT)
            # One that holds no less and is no cheaper than a later one is no part of the frontier.
            while found and found[-1].predicted_peak_bytes >= plan.predicted_peak_bytes:
                if found[-1].predicted_extra < plan.predicted_extra:
                    break
                found.pop()
            else:
                found.append(plan)
        return found

    def rules(self) -> Iterator[Option]:
        """The policies that know only how many stages there are."""
        policies = [Policy(SQRT)]
        (chain,) = chains(self.cell.keep_all(Mode.TRAIN))[:1]
        policies += [Policy(REVOLVE, 2**power) for power in range(12) if 2**power < len(chain)]
        for policy in policies:
            option = self._option(Kind.RULE, str(policy), replace(self.cell, policy=str(policy)))
            if 0 < option.predicted_extra <= MOST_EXTRA:
                yield option

    def levers(self, memory_bytes: int | None) -> Iterator[Option]:
        """Other ways to hold less, one at a time; with a plan for a memory that is too small without."""
        for name, cell in self._lever_cells():
            alone = self._option(Kind.LEVER, name, cell)
            yield alone
            if memory_bytes is not None and alone.least_bytes <= memory_bytes < alone.predicted_peak_bytes:
                policy = str(Policy(BUDGET, memory_bytes))
                yield self._option(Kind.LEVER, f"{name}, {policy}", replace(cell, policy=policy))

    def _lever_cells(self) -> Iterator[tuple[str, Cell]]:
        cell = self.cell
        if cell.update != EAGER:
            yield "--update eager", replace(cell, update=EAGER)
        if cell.optimizer != "sgd":
            yield "--optimizer sgd", replace(cell, optimizer="sgd")
        halved = 2 * cell.accumulate
        if cell.batch % halved == 0:
            yield f"--accumulate {halved}", replace(cell, accumulate=halved)
        if cell.dtype != "float32":
            yield "--dtype float32", replace(cell, dtype="float32")

    def _option(self, kind: Kind, name: str, cell: Cell) -> Option:
        plan = cell.plan(Mode.TRAIN)
        own = kind in (Kind.KEEP_ALL, Kind.LEVER)
        return Option(
            kind=kind,
            name=name,
            cell=cell,
            predicted_peak_bytes=peak_bytes(analyse(plan.schedule), cell.allocation_for(timing=False)),
            predicted_extra=self._total(plan.schedule) / self._keep_all_cost - 1,
            abstract_count=plan.abstract_count,
            executed_count=plan.executed_count,
            values=tuple(plan.values()),
            least_bytes=smallest_budget(cell.keep_all(Mode.TRAIN)) if own else self.keep_all.least_bytes,
            exact=cell.accumulate == self.cell.accumulate,
        )

    def _total(self, schedule: Schedule) -> float:
        return sum(self._cost(schedule.graph, schedule.graph[step.node]) for step in schedule.steps)


def measure_fit(
    fit: Fit,
    *,
    timeout_s: float | None = None,
    measure: PairMeasure = measure,
    done: Callable[[Option], None] = lambda option: None,
) -> Fit:
    """``fit`` with every option run: ledger, heap, its time beside keep-all's, its gradients bit by bit."""
    runner = _Runner(fit.keep_all.cell, measure, timeout_s)

    def run(option: Option) -> Option:
        found = runner.run(option)
        done(found)
        return found

    def run_all(options: Sequence[Option]) -> tuple[Option, ...]:
        return tuple(map(run, options))

    with SERVERS:
        keep_all = run(fit.keep_all)
        chosen = fit.chosen
        if chosen is not None:
            chosen = keep_all if chosen.kind is Kind.KEEP_ALL else run(chosen)
        return replace(
            fit,
            keep_all=keep_all,
            chosen=chosen,
            points=run_all(fit.points),
            rules=run_all(fit.rules),
            levers=run_all(fit.levers),
        )


class _Runner:
    """Measures options beside one that keeps all."""

    def __init__(self, keep_all: Cell, measure: PairMeasure, timeout_s: float | None) -> None:
        self._keep_all, self._measure, self._timeout_s = keep_all, measure, timeout_s
        self._keep_all_needs = needed_bytes(predicted_row(keep_all, Mode.TRAIN))

    def run(self, option: Option) -> Option:
        """``option`` with what was measured; what could not be is said in its notes."""
        itself = option.kind is Kind.KEEP_ALL
        meters = (*METERS, "time") if itself else METERS
        row = measured_row(option.cell, Mode.TRAIN, meters, self._timeout_s, self._measure)
        option = replace(option, row=row, notes=tuple(row.notes))
        if itself or not row.ok:
            return replace(option, step_s=row.figures.step_s, time_ratio=1.0 if row.figures.step_s else None)
        with ROOM.take(needed_bytes(row) + self._keep_all_needs) as free_bytes:
            if needed_bytes(row) + self._keep_all_needs > free_bytes:
                return _noted(
                    option, "what keeps all does not fit beside it: time and gradients not compared"
                )
            return self._compared(option)

    def _compared(self, option: Option) -> Option:
        cell, base = option.cell, self._keep_all
        try:
            pace = self._measure("pace", cell, Mode.TRAIN, self._timeout_s, base)
            option = replace(option, step_s=pace["step_s"], time_ratio=pace["time_ratio"])
            if (cell.optimizer, cell.dtype) == (base.optimizer, base.dtype):
                likeness = self._measure("likeness", cell, Mode.TRAIN, self._timeout_s, base)
                option = replace(
                    option,
                    differing=tuple(likeness["differing"]),
                    largest_difference=likeness["largest_difference"],
                )
        except (ChildFailed, MeterUnavailable) as reason:
            return _noted(option, str(reason))
        return option


def _noted(option: Option, note: str) -> Option:
    return replace(option, notes=(*option.notes, note))


def command_of(cell: Cell) -> str:
    """The command that trains the network of a cell; a sweep of this cell where its data are synthetic."""
    synthetic = cell.data == SYNTHETIC
    columns, default = cell.columns(), Cell().columns()
    told = {"depth", "width", "input_size", "output_size", "batch", "steps", "threads"}
    if synthetic:
        words = ["memtrain", "sweep", "--mode", "train"]
        spec = cell.spec()
        sizes = (spec.input_size, *spec.hidden, spec.output_size)
        options = {"layers": ",".join(map(str, sizes)), "batch": str(cell.batch)}
        told.add("data")
    else:
        words = ["memtrain", "train"]
        options = {name: str(columns[name]) for name in ("depth", "width", "batch")}
    options |= {
        name: str(value) for name, value in columns.items() if name not in told and value != default[name]
    }
    if not synthetic and cell.policy.startswith(BUDGET):
        options["allocation"] = FRESH  # as it was planned and measured; an arena can need some bytes more
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", *([] if value == "True" else [value])]
    return " ".join(map(quoted, words))
