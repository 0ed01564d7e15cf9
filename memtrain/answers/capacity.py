"""Capacity: for each value of one axis, the predicted largest value of another that fits into a memory.

The usual axes are depth and batch. `memtrain.answers.confirm` confirms the largest values by runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from memtrain.answers.axes import DEPTH_BATCH, Axes, Names
from memtrain.answers.sizes import BytesOf, Sizes, is_uneven
from memtrain.cells.cell import BOTH, Cell, Mode
from memtrain.cells.row import predicted_row
from memtrain.errors import SpecError
from memtrain.measure.limits import most_slack_bytes, slack_bytes
from memtrain.planning.liveness import analyse
from memtrain.run.allocation import peak_bytes
from memtrain.sweeps.grid import training_examples


@dataclass(frozen=True)
class Boundary:
    """For one first value and mode: the largest second value that fits, and the smallest that must fail.

    ``second`` is ``None`` if not even the least value fits. ``limit_bytes`` is the budget plus a slack for
    allocator and interpreter. A value between ``second`` and ``outside`` may fit or fail. ``outside`` is
    ``None`` if the search ended before it. ``confirmed_…`` is ``None`` if nothing was run.
    """

    first: int
    second: int | None
    mode: Mode
    predicted_peak_bytes: int | None
    budget_bytes: int
    limit_bytes: int
    outside: int | None
    outside_predicted_peak_bytes: int | None
    confirmed_inside: bool | None = None
    confirmed_outside: bool | None = None
    inside_reason: str = ""
    """Why ``second`` did not run; empty if it ran."""
    outside_reason: str = ""
    """How the run of ``outside`` ended. As expected, this names the step at which memory ran out."""
    outside_node: str = ""
    """The value that was being computed when memory ran out."""
    slack_needed_bytes: int | None = None
    """The bytes that the process took beyond its arrays when ``second`` ran."""
    training_examples: int | None = None
    """The number of training examples. A larger batch repeats some of them. ``None`` for synthetic data."""

    @property
    def ok(self) -> bool:
        """Whether no run contradicts the prediction."""
        return self.confirmed_inside is not False and self.confirmed_outside is not False

    def problems(self, axes: Names = DEPTH_BATCH) -> list[tuple[str, str]]:
        """The values whose runs did not end as expected or that were not tried, each with the reason."""
        found, of = [], f"{axes[0]} {self.first}, {self.mode}: {axes[1]}"
        if self.inside_reason:
            why = self.inside_reason
            at_most = self.limit_bytes - self.budget_bytes == most_slack_bytes(self.budget_bytes)
            if at_most and self.confirmed_inside is False:
                why += "; the limit allows the largest slack, which can be too small for so many arrays"
            found.append((f"{of} {self.second:,}, which should fit", why))
        if not self.confirmed_outside and (self.outside_reason or self.confirmed_outside is False):
            found.append((f"{of} {self.outside:,}, which should not fit", self.outside_reason or "it ran"))
        return found


@dataclass(frozen=True)
class LargestFirst:
    """For one second value and mode: the largest first value that fits, such as the largest depth.

    It is ``None`` if not even the least value fits. ``more`` says that the search ended there, so that
    larger values may fit, too.
    """

    second: int
    mode: Mode
    first: int | None
    predicted_peak_bytes: int | None
    more: bool = False


@dataclass(frozen=True)
class Capacity:
    """The values of two axes that fit into ``budget_bytes`` above the baseline.

    ``cell`` has all other settings.
    """

    cell: Cell
    budget_bytes: int
    boundaries: tuple[Boundary, ...]
    largest_firsts: tuple[LargestFirst, ...]
    axes: Names = DEPTH_BATCH

    @property
    def training_examples(self) -> int | None:
        """The number of training examples; ``None`` for synthetic data, or if batch is no axis."""
        return next((boundary.training_examples for boundary in self.boundaries), None)

    def largest_seconds(self) -> dict[tuple[int, Mode], int]:
        """By first value and mode: the largest second value that fits, or 0 if none does."""
        return {(boundary.first, boundary.mode): boundary.second or 0 for boundary in self.boundaries}

    def cells(self) -> list[Cell]:
        """A cell for each first value, with some second value that a network can have beside it."""
        found = {one.first: one.outside or one.second for one in self.boundaries}
        return [self.cell.changed(**dict(zip(self.axes, pair, strict=True))) for pair in found.items()]

    def outcome(self, first: int, second: int) -> str | None:
        """Whether the values fit to ``train``, only to ``infer``, or not (``none``).

        ``None`` if there is no network with these values.
        """
        try:
            cell = self.cell.changed(**dict(zip(self.axes, (first, second), strict=True)))
        except SpecError:
            return None
        largest = self.largest_seconds()
        for mode in BOTH:
            fits = second <= largest[first, mode]
            if fits and is_uneven(cell, self.axes[1]):
                fits = predicted_row(cell, mode)["predicted_peak_bytes"] <= self.budget_bytes
            if fits:
                return str(mode)
        return "none"


def find_capacity(
    cell: Cell,
    budget_bytes: int,
    firsts: Sequence[int],
    seconds: Sequence[int] | Callable[[Sequence[Boundary]], Sequence[int]],
    examples: int | None = None,
    axes: Names = DEPTH_BATCH,
) -> Capacity:
    """The largest second value for each first and the largest first for each second, in both modes.

    Nothing is run. ``seconds`` may be a function of the boundaries that were found. ``examples`` is the
    number of training examples, if known. It does not limit the batch. Raises ``SpecError`` for a value that
    no network can have.
    """
    cell = cell.changed(memory_limit_bytes=budget_bytes, steps=2)
    known = examples if axes[1] == "batch" else None
    predict = _predictor()
    boundaries: list[Boundary] = []
    for first in firsts:
        sizes = Sizes(axes[1], _along(cell, axes[0], first, axes[1]))
        found = [_boundary(sizes, budget_bytes, first, mode, predict) for mode in BOTH]
        boundaries += [replace(boundary, training_examples=known) for boundary in found]
    if callable(seconds):
        seconds = seconds(boundaries)
    largest = _largest_firsts(cell, budget_bytes, seconds, predict, axes)
    return Capacity(cell, budget_bytes, tuple(boundaries), tuple(largest), axes)


def capacity_of(axes: Axes, make: Callable[..., Cell], budget_bytes: int) -> Capacity:
    """What fits on the given axes, by `find_capacity`. ``make`` makes a cell from columns that are given.

    Raises ``InputError``.
    """
    cell = axes.cell(make)
    seconds = axes.seconds
    if seconds is None:
        least = min(cell.network.usual_axes["batch"])
        return find_capacity(
            cell,
            budget_bytes,
            axes.firsts,
            lambda boundaries: default_batches(boundaries, least),
            training_examples(cell),
            axes.names,
        )
    return find_capacity(cell, budget_bytes, axes.firsts, seconds, training_examples(cell), axes.names)


def default_batches(boundaries: Sequence[Boundary], least: int = 64) -> list[int]:
    """``least``, 4 · ``least``, … up to the first batch that fits nowhere."""
    batches = [least]
    while batches[-1] <= max((boundary.second or 0 for boundary in boundaries), default=0):
        batches.append(4 * batches[-1])
    return batches


Predict = Callable[[Cell, Mode], tuple[int, int, int]]
"""A function that gives for a cell, in bytes: its peak, its peak without workspace, and its slack."""


def _predictor() -> Predict:
    @cache
    def predict(cell: Cell, mode: Mode) -> tuple[int, int, int]:
        liveness = analyse(cell.schedule(mode))
        peak = peak_bytes(liveness, cell.allocation_for(timing=False))
        steps = zip(liveness.live_bytes, liveness.occupancy.workspace_bytes, strict=True)
        arrays = max(live - workspace for live, workspace in steps)
        return peak, arrays, slack_bytes(liveness, cell.memory_limit_bytes or 0)

    return predict


def _in_mode(predict: Predict, mode: Mode) -> BytesOf:
    return lambda cell: predict(cell, mode)[:2]


def _along(cell: Cell, fixed: str, value: int, axis: str) -> Callable[[int], Cell]:
    """A function that gives the cell of a size on ``axis``, with the ``value`` of the other axis."""
    return lambda size: cell.changed(**{fixed: value, axis: size})


def _boundary(sizes: Sizes, budget_bytes: int, first: int, mode: Mode, predict: Predict) -> Boundary:
    bytes_of = _in_mode(predict, mode)

    def peak(size: int) -> int:
        return bytes_of(sizes.at(size))[0]

    def limit(size: int) -> int:
        return budget_bytes + predict(sizes.at(size), mode)[2]

    inside = sizes.largest(bytes_of, budget_bytes)
    limit_bytes = limit(inside or sizes.least)
    outside = sizes.after(sizes.largest(bytes_of, limit_bytes))
    while outside is not None and peak(outside) <= (own_limit := limit(outside)):
        outside = sizes.after(sizes.largest(bytes_of, own_limit))  # more arrays at its peak need more slack
    return Boundary(
        first=first,
        second=inside,
        mode=mode,
        predicted_peak_bytes=None if inside is None else peak(inside),
        budget_bytes=budget_bytes,
        limit_bytes=limit_bytes,
        outside=outside,
        outside_predicted_peak_bytes=None if outside is None else peak(outside),
    )


def _largest_firsts(
    cell: Cell, budget_bytes: int, seconds: Sequence[int], predict: Predict, axes: Names
) -> list[LargestFirst]:
    found = {}
    bound: dict[Mode, int | None] = dict.fromkeys(BOTH)
    for second in sorted(set(seconds)):
        sizes = Sizes(axes[0], _along(cell, axes[1], second, axes[0]))
        for mode in BOTH:
            bytes_of = _in_mode(predict, mode)
            first = sizes.largest(bytes_of, budget_bytes, bound[mode])
            if not is_uneven(cell, axes[1]) and (first is None or first < sizes.most):
                bound[mode] = first or 1  # what is too large here is too large for each larger second value
            peak = None if first is None else bytes_of(sizes.at(first))[0]
            found[second, mode] = LargestFirst(second, mode, first, peak, sizes.ended(first))
    return [found[second, mode] for second in seconds for mode in BOTH]
