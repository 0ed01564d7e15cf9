"""Ways to make a cell fit into a memory: plans of rematerialisation and other levers, all predicted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial

from memtrain.answers.lever_peaks import Peaks, parameter_bytes
from memtrain.answers.levers import (
    combinations,
    largest_batch,
    least_of_all,
    most_accumulate,
    single_levers,
)
from memtrain.answers.obstacle import obstacle_of
from memtrain.answers.option import Kind, Option, Ways
from memtrain.cells.cell import FLOPS, SECONDS, Cell, Mode
from memtrain.cells.columns import BY_NAME
from memtrain.cells.engine import NUMPY
from memtrain.errors import BudgetError, InputError
from memtrain.planning.cost import CostOf, Rates, flops
from memtrain.planning.liveness import analyse
from memtrain.planning.remat.chain import chains
from memtrain.planning.remat.policy import BUDGET, NONE, REVOLVE, SQRT, Policy
from memtrain.planning.schedule import Schedule
from memtrain.run.allocation import peak_bytes

MOST_EXTRA = 1.5
"""The most extra time of a policy, as a share of an iteration. Slower policies are left out."""


def find_ways(cell: Cell, memory_bytes: int | None, points: int = 0, rates: Rates | None = None) -> Ways:
    """The ways to make ``cell`` fit into a memory, and ``points`` plans of the trade-off. Nothing is run.

    The policy of ``cell`` is ignored. If no plan of rematerialisation fits into the memory, the answer is the
    cheapest combination of levers that fits. If there is none, the answer is the largest batch that fits.
    Options are compared by their time at ``rates``, if the cost of the cell is time; otherwise by FLOPs. For
    PyTorch there are only levers, and FLOPs: the rates are those of memtrain's kernels. Raises ``InputError``
    for a cell that retains its graph.
    """
    if cell.retain_graph:
        raise InputError("a plan frees what --retain-graph keeps", "drop --retain-graph")
    if cell.engine != NUMPY:
        rates, points = None, 0
    if rates is None:
        cell = cell.changed(cost=FLOPS)
    finder = _Finder(cell.changed(policy=NONE, steps=2), rates)
    keep_all = finder.keep_all
    ways = Ways(
        cell=finder.cell,
        memory_bytes=memory_bytes,
        keep_all=keep_all,
        chosen=None,
        points=tuple(finder.points(points)),
        rules=tuple(finder.rules()) if points else (),
        parameter_bytes=parameter_bytes(cell),
        obstacle=obstacle_of(finder.cell) if finder.has_no_smaller_plan() else None,
    )
    levers, left_out = finder.levers(memory_bytes)
    ways = replace(ways, levers=tuple(levers), left_out=tuple(left_out))
    if memory_bytes is None:
        return ways
    chosen = finder.answer(memory_bytes)
    if chosen is None:
        return finder.without(ways, memory_bytes)
    if chosen.kind is Kind.LEVER and chosen not in levers:
        levers.insert(0, chosen)
    return replace(ways, chosen=chosen, levers=tuple(levers))


class _Finder:
    """Finds and predicts the options of one cell."""

    def __init__(self, cell: Cell, rates: Rates | None) -> None:
        self.cell, self._rates = cell, rates
        self._cost: CostOf = rates.seconds if rates is not None and cell.cost == SECONDS else flops
        self._peaks = Peaks()
        self._lever = cache(partial(self._option, Kind.LEVER))
        self._keep_all_cost = self._total(cell.schedule(Mode.TRAIN))
        self.keep_all = self._option(Kind.KEEP_ALL, cell)

    def has_no_smaller_plan(self) -> bool:
        """Whether plans of rematerialisation are made, and none holds less than keep-all."""
        return self.cell.engine == NUMPY and self.keep_all.least_bytes == self.keep_all.predicted_peak_bytes

    def within(self, budget_bytes: int, kind: Kind) -> Option:
        """The cheapest plan within a budget. Raises ``BudgetError``."""
        return self._option(kind, self.cell.changed(policy=str(Policy(BUDGET, budget_bytes))))

    def points(self, count: int) -> list[Option]:
        """Plans for ``count`` budgets at equal distances, from the smallest to the peak of keep-all.

        A plan is left out if another plan holds no more and costs no more.
        """
        least, most = self.keep_all.least_bytes, self.keep_all.predicted_peak_bytes
        found: list[Option] = []
        for index in range(count):
            budget = most if count == 1 else least + (most - least) * index // (count - 1)
            plan = self.within(budget, Kind.POINT)
            while found and found[-1].predicted_peak_bytes >= plan.predicted_peak_bytes:
                if found[-1].predicted_extra < plan.predicted_extra:
                    break
                found.pop()
            else:
                found.append(plan)
        return found

    def rules(self) -> Iterator[Option]:
        """Options with the policies sqrt and revolve that cost extra time, and at most `MOST_EXTRA`.

        These policies use only the number of stages.
        """
        policies = [Policy(SQRT)]
        (chain,) = chains(self.cell.keep_all(Mode.TRAIN))[:1]
        policies += [Policy(REVOLVE, 2**power) for power in range(12) if 2**power < len(chain)]
        for policy in policies:
            option = self._option(Kind.RULE, self.cell.changed(policy=str(policy)))
            if 0 < option.predicted_extra <= MOST_EXTRA:
                yield option

    def levers(self, memory_bytes: int | None) -> tuple[list[Option], list[tuple[str, int]]]:
        """Options that change one lever, and the levers that need more than keep-all, with their peaks.

        If a lever alone does not fit into the memory, an option with the lever and a plan is added.
        """
        helpful, left_out = [], []
        most = self.keep_all.predicted_peak_bytes
        for cell in single_levers(self.cell, memory_bytes, self._peaks):
            peak_bytes = self._peaks.kept_bytes(cell)
            if peak_bytes > most:
                left_out.append((self._name(cell), peak_bytes))
            else:
                helpful.append(self._lever(cell))
            if memory_bytes is None or peak_bytes <= memory_bytes:
                continue
            if self._peaks.has_plan(cell, memory_bytes):
                policy = str(Policy(BUDGET, memory_bytes))
                helpful.append(self._lever(cell.changed(policy=policy)))
        return helpful, left_out

    def answer(self, memory_bytes: int) -> Option | None:
        """The answer: keep-all, a plan, or a combination of levers; ``None`` if nothing fits.

        It is the cheapest of the combinations that change the least of the training.
        """
        if self.keep_all.predicted_peak_bytes <= memory_bytes:
            return self.keep_all
        if self.keep_all.least_bytes <= memory_bytes:
            with suppress(BudgetError):  # in an arena a plan may need a few bytes more
                return self.within(memory_bytes, Kind.CHOSEN)
        for options in combinations(self.cell, memory_bytes, self._peaks, self._lever):
            found = [option for option in options if option.predicted_peak_bytes <= memory_bytes]
            if found:
                return min(found, key=lambda option: option.predicted_extra)
        return None

    def without(self, ways: Ways, memory_bytes: int) -> Ways:
        """``ways`` if nothing fits into the memory, with the least memory and the largest batch that fits."""
        batch = largest_batch(self.cell, memory_bytes, self._peaks)
        smaller = None
        if batch is not None:
            found = _Finder(self.cell.changed(batch=batch, accumulate=1), self._rates).answer(memory_bytes)
            smaller = None if found is None else self._option(Kind.BATCH, found.cell)
        most = most_accumulate(self.cell)
        return replace(
            ways,
            least_bytes=least_of_all(self.cell, self._peaks),
            smaller=smaller,
            most_accumulate=most if most < self.cell.batch else None,
        )

    def _name(self, cell: Cell) -> str:
        """The name of an option: the settings in which ``cell`` differs from the given cell."""
        changed = [
            BY_NAME[name].option if cell[name] is True else f"--{name} {cell[name]}"
            for name in ("batch", "update", "optimizer", "accumulate", "dtype", "fused")
            if cell[name] != self.cell[name]
        ]
        return ", ".join([*changed, *([] if changed and cell.policy == NONE else [cell.policy])])

    def _option(self, kind: Kind, cell: Cell) -> Option:
        plan = cell.plan(Mode.TRAIN, self._rates)
        own = kind in (Kind.KEEP_ALL, Kind.LEVER, Kind.BATCH)
        return Option(
            kind=kind,
            name=self._name(cell),
            cell=cell,
            predicted_peak_bytes=peak_bytes(analyse(plan.schedule), cell.allocation_for(timing=False)),
            predicted_extra=self._total(plan.schedule) / self._keep_all_cost - 1,
            abstract_count=plan.abstract_count,
            executed_count=plan.executed_count,
            values=tuple(plan.values()),
            least_bytes=self._peaks.least_bytes(cell) if own else self.keep_all.least_bytes,
            exact=cell.accumulate == self.cell.accumulate,
        )

    def _total(self, schedule: Schedule) -> float:
        return sum(self._cost(schedule.graph, schedule.graph[step.node]) for step in schedule.steps)
