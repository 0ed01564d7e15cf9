"""Capacity: the predicted largest batches and depths that fit into a memory.

`memtrain.answers.confirm` confirms them by runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from memtrain.answers.largest import largest_within
from memtrain.cells.cell import Cell, Mode
from memtrain.measure.limits import most_slack_bytes, slack_bytes
from memtrain.planning.liveness import analyse
from memtrain.run.allocation import peak_bytes

MOST_BATCH, MOST_DEPTH = 2**62, 4096
"""The largest sizes that are searched. A prediction for more layers would take seconds."""


@dataclass(frozen=True)
class Boundary:
    """For one depth and mode: the largest batch that fits, and the smallest batch that must fail.

    ``batch`` is ``None`` if not even one example fits. ``limit_bytes`` is the budget plus a slack for
    allocator and interpreter. A batch between ``batch`` and ``outside_batch`` may fit or fail.
    ``confirmed_…`` is ``None`` if nothing was run.
    """

    depth: int
    batch: int | None
    mode: Mode
    predicted_peak_bytes: int | None
    budget_bytes: int
    limit_bytes: int
    outside_batch: int
    outside_predicted_peak_bytes: int
    confirmed_inside: bool | None = None
    confirmed_outside: bool | None = None
    inside_reason: str = ""
    """Why ``batch`` did not run; empty if it ran."""
    outside_reason: str = ""
    """How the run of ``outside_batch`` ended. As expected, this names the step at which memory ran out."""
    outside_node: str = ""
    """The value that was being computed when memory ran out."""
    slack_needed_bytes: int | None = None
    """The bytes that the process took beyond its arrays when ``batch`` ran."""
    training_examples: int | None = None
    """The number of training examples. A larger batch repeats some of them. ``None`` for synthetic data."""

    @property
    def ok(self) -> bool:
        """Whether no run contradicts the prediction."""
        return self.confirmed_inside is not False and self.confirmed_outside is not False

    def problems(self) -> list[tuple[str, str]]:
        """The batches whose runs did not end as expected or that were not tried, each with the reason."""
        found, of = [], f"depth {self.depth}, {self.mode}: batch"
        if self.inside_reason:
            why = self.inside_reason
            at_most = self.limit_bytes - self.budget_bytes == most_slack_bytes(self.budget_bytes)
            if at_most and self.confirmed_inside is False:
                why += "; the limit allows the largest slack, which can be too small for so many arrays"
            found.append((f"{of} {self.batch:,}, which should fit", why))
        if not self.confirmed_outside and (self.outside_reason or self.confirmed_outside is False):
            found.append(
                (f"{of} {self.outside_batch:,}, which should not fit", self.outside_reason or "it ran")
            )
        return found


@dataclass(frozen=True)
class LargestDepth:
    """For one batch and mode: the depth of the deepest network that fits.

    If it is ``MOST_DEPTH``, deeper networks may fit, too. It is ``None`` if not even depth 0 fits.
    """

    batch: int
    mode: Mode
    depth: int | None
    predicted_peak_bytes: int | None


@dataclass(frozen=True)
class Capacity:
    """The batches and depths that fit into ``budget_bytes`` above the baseline.

    ``cell`` has all other settings.
    """

    cell: Cell
    budget_bytes: int
    boundaries: tuple[Boundary, ...]
    depths: tuple[LargestDepth, ...]

    @property
    def training_examples(self) -> int | None:
        """The number of training examples; ``None`` for synthetic data."""
        return next((boundary.training_examples for boundary in self.boundaries), None)

    def largest_batches(self) -> dict[tuple[int, Mode], int]:
        """By depth and mode: the largest batch that fits, or 0 if none does."""
        return {(boundary.depth, boundary.mode): boundary.batch or 0 for boundary in self.boundaries}


def find_capacity(
    cell: Cell,
    budget_bytes: int,
    depths: Sequence[int],
    batches: Sequence[int] | Callable[[Sequence[Boundary]], Sequence[int]],
    training_examples: int | None = None,
) -> Capacity:
    """The largest batch for each depth and the largest depth for each batch, in both modes. Runs nothing.

    ``batches`` may be a function of the boundaries that were found. ``training_examples`` is the number of
    examples, if known. It does not limit the batch.
    """
    cell = cell.changed(memory_limit_bytes=budget_bytes, steps=2)
    predict = _predictor()
    boundaries = [
        replace(_boundary(cell, budget_bytes, depth, mode, predict), training_examples=training_examples)
        for depth in depths
        for mode in Mode
    ]
    if callable(batches):
        batches = batches(boundaries)
    deepest = _largest_depths(cell, budget_bytes, batches, predict)
    return Capacity(cell, budget_bytes, tuple(boundaries), tuple(deepest))


def default_batches(boundaries: Sequence[Boundary]) -> list[int]:
    """64, 256, … up to the first batch that fits at no depth."""
    batches = [64]
    while batches[-1] <= max((boundary.batch or 0 for boundary in boundaries), default=0):
        batches.append(4 * batches[-1])
    return batches


Predict = Callable[[Cell, Mode], tuple[int, int]]
"""A function that gives the predicted peak and the slack of a cell, in bytes."""


def _predictor() -> Predict:
    @cache
    def predict(cell: Cell, mode: Mode) -> tuple[int, int]:
        liveness = analyse(cell.schedule(mode))
        peak = peak_bytes(liveness, cell.allocation_for(timing=False))
        return peak, slack_bytes(liveness, cell.memory_limit_bytes or 0)

    return predict


def _boundary(cell: Cell, budget_bytes: int, depth: int, mode: Mode, predict: Predict) -> Boundary:
    def at(batch: int) -> Cell:
        return cell.changed(depth=depth, batch=batch)

    def largest(limit_bytes: int) -> int | None:
        return largest_within(lambda batch: predict(at(batch), mode)[0], limit_bytes, 1, MOST_BATCH)

    inside = largest(budget_bytes)
    limit_bytes = budget_bytes + predict(at(inside or 1), mode)[1]
    outside = (largest(limit_bytes) or 0) + 1
    while predict(at(outside), mode)[0] <= (own_limit := budget_bytes + predict(at(outside), mode)[1]):
        outside = (largest(own_limit) or 0) + 1  # more arrays at its peak need more slack
    return Boundary(
        depth=depth,
        batch=inside,
        mode=mode,
        predicted_peak_bytes=None if inside is None else predict(at(inside), mode)[0],
        budget_bytes=budget_bytes,
        limit_bytes=limit_bytes,
        outside_batch=outside,
        outside_predicted_peak_bytes=predict(at(outside), mode)[0],
    )


def _largest_depths(
    cell: Cell, budget_bytes: int, batches: Sequence[int], predict: Predict
) -> list[LargestDepth]:
    found = {}
    for mode in Mode:
        most = MOST_DEPTH
        for batch in sorted(set(batches)):  # a depth too large for one batch is too large for all larger ones

            def peak(depth: int, batch: int = batch, mode: Mode = mode) -> int:
                return predict(cell.changed(depth=depth, batch=batch), mode)[0]

            # The search starts at 1, since depth 0 (inputs × outputs) can need more than a narrow layer.
            depth = largest_within(peak, budget_bytes, 1, most)
            most = depth or 1
            if depth is None and peak(0) <= budget_bytes:
                depth = 0
            found[batch, mode] = LargestDepth(batch, mode, depth, None if depth is None else peak(depth))
    return [found[batch, mode] for batch in batches for mode in Mode]
