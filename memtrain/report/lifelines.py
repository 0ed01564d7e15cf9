"""What the plots of one cell show, as plain data: live bytes step by step, and the lives of what is kept.

Both come from the prediction, so the cell need not have run.
"""

from __future__ import annotations

from dataclasses import dataclass

from memtrain.cells.cell import Cell, Mode
from memtrain.errors import SpecError
from memtrain.explaining.formulas import Book
from memtrain.explaining.reasons import Retained, retained_reasons
from memtrain.explaining.timeline import Moment, timeline
from memtrain.graph.node import Phase, Role
from memtrain.planning.cost import Rates
from memtrain.planning.liveness import analyse
from memtrain.report.findings import cell_name
from memtrain.run.allocation import PACKED
from memtrain.run.kept_rates import UNKNOWN, kept_rates
from memtrain.units import format_bytes

MOST_MOMENTS = 400
"""The most steps that a screen has columns for. Of more, the highest of each run of steps are shown."""

MOST_LIVES = 100
"""The most lives that a plot has room for. Of more retained intermediates, some are shown, evenly taken."""


@dataclass(frozen=True)
class Track:
    """The iteration of a mode, step by step."""

    mode: Mode
    moments: tuple[Moment, ...]
    """Every step, or the highest of each run of steps; the peak is always among them."""
    reasons: dict[int, str]
    """By step: why the value that it computes is retained."""
    starts: dict[str, int]
    """The first step of each phase."""
    step_count: int
    peak: Moment

    def live_bytes(self, role: Role) -> list[int]:
        """The live bytes of a role at each moment."""
        return [moment.live_bytes[role] for moment in self.moments]

    @property
    def roles(self) -> list[Role]:
        """The roles that have bytes at some step, in their order."""
        return [role for role in Role if any(self.live_bytes(role))]


@dataclass(frozen=True)
class Timeline:
    """Training and inference of a cell; ``train`` is ``None`` where the cell's policy has no plan for it."""

    train: Track | None
    infer: Track
    reading: str

    @property
    def tracks(self) -> list[Track]:
        """The tracks that exist, training first."""
        return [self.infer] if self.train is None else [self.train, self.infer]

    @property
    def most_bytes(self) -> int:
        """The larger peak."""
        return max(track.peak.total_bytes for track in self.tracks)


@dataclass(frozen=True)
class LifeLine:
    """A retained intermediate, from the step that makes it to the step that frees it."""

    name: str
    bytes: int
    born_step: int
    freed_step: int
    reason: str


@dataclass(frozen=True)
class LifeLines:
    """The retained intermediates of a cell in the order of their birth."""

    lives: tuple[LifeLine, ...]
    """All of them, or some, evenly taken, with the first and the last."""
    backward_step: int
    """The step at which backward starts."""
    step_count: int
    reading: str


def of_cell(
    cell: Cell,
    most_moments: int = MOST_MOMENTS,
    most_lives: int = MOST_LIVES,
    rates: Rates | None = None,
) -> tuple[Timeline, LifeLines]:
    """The plots of a cell, from its graph alone; what is more than the most is left out evenly.

    A plan that minimises time uses ``rates``, or else the rates that are kept on this machine. Without any,
    it minimises FLOPs, and the reading says so. Where training has no plan within the budget of the cell's
    policy, the readings say so.
    """
    if rates is None and cell.plans_by_time:
        rates = kept_rates()
    infer, _ = _track(cell, Mode.INFER, most_moments, rates)
    infer_bytes = format_bytes(infer.peak.total_bytes)
    try:
        train, retained = _track(cell, Mode.TRAIN, most_moments, rates)
    except SpecError as error:
        lacking = f"Training has no plan: {error}."
        reading = f"At {cell_name(cell)}, inference's peak is {infer_bytes}, and it retains none. {lacking}"
        return Timeline(None, infer, reading), LifeLines((), 0, 0, lacking)
    share = train.peak.live_bytes[Role.RETAINED] / train.peak.total_bytes
    reading = (
        f"At {cell_name(cell)}, training's peak is {format_bytes(train.peak.total_bytes)}, at step "
        f"{train.peak.step} ({train.peak.phase}, {train.peak.node}), and {share:.0%} of it is retained "
        f"intermediates; inference's is {infer_bytes}, and it retains none."
    )
    if cell.allocation_for(timing=False) == PACKED:
        reading += " The arena that holds the values may be larger, and is what the peaks of the rows count."
    if rates is None and cell.plans_by_time:
        reading += f" {UNKNOWN[0].upper()}{UNKNOWN[1:]}."
    return Timeline(train, infer, reading), _life_lines(train, retained, most_lives)


def reason(entry: Retained) -> str:
    """Why an intermediate is kept, in a sentence."""
    readers = "; ".join(map(str, entry.read_by))
    return f"{entry.name} is kept until step {entry.freed_step}, because backward reads it: {readers}"


def _track(cell: Cell, mode: Mode, most: int, rates: Rates | None) -> tuple[Track, list[Retained]]:
    schedule = cell.schedule(mode, rates)
    liveness = analyse(schedule)
    moments = timeline(liveness)
    starts: dict[str, int] = {}
    for moment in moments:
        starts.setdefault(moment.phase, moment.step)
    retained = retained_reasons(liveness, Book(schedule.graph, cell["l2"]))
    track = Track(
        mode=mode,
        moments=tuple(_highest(moments, most)),
        reasons={entry.born_step: reason(entry) for entry in retained},
        starts=starts,
        step_count=len(moments),
        peak=moments[liveness.peak_step],
    )
    return track, retained


def _highest(moments: list[Moment], most: int) -> list[Moment]:
    """The first highest moment of each of at most ``most`` runs of equal length."""
    length = -(-len(moments) // most)
    runs = [moments[start : start + length] for start in range(0, len(moments), length)]
    return [max(run, key=lambda moment: moment.total_bytes) for run in runs]


def _life_lines(train: Track, retained: list[Retained], most: int) -> LifeLines:
    backward_step = train.starts.get(Phase.BACKWARD, train.step_count)
    lives = tuple(
        LifeLine(entry.name, entry.bytes, entry.born_step, entry.freed_step, reason(entry))
        for entry in _evenly(retained, most)
    )
    return LifeLines(lives, backward_step, train.step_count, _life_reading(retained, len(lives)))


def _evenly(entries: list[Retained], most: int) -> list[Retained]:
    if len(entries) <= most:
        return entries
    return [entries[index * (len(entries) - 1) // (most - 1)] for index in range(most)]


def _life_reading(retained: list[Retained], shown: int) -> str:
    if not retained:
        return "Forward leaves nothing for backward."
    total = format_bytes(sum(entry.bytes for entry in retained))
    first = min(retained, key=lambda entry: entry.freed_step)
    last = max(retained, key=lambda entry: entry.freed_step)
    sentence = (
        f"Forward leaves {len(retained)} intermediates, {total}, and backward frees them on its way back: "
    )
    sentence += (
        f"{first.name} first, at step {first.freed_step}, {last.name} last, at step {last.freed_step}."
    )
    if len(retained) == 1:
        sentence = f"Forward leaves {first.name}, {total}, and backward frees it at step {first.freed_step}."
    return sentence if shown == len(retained) else f"{sentence} {shown} of them are shown."
