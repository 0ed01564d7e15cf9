"""The data of the plots of one cell: its live bytes step by step, and the lives of its retained values.

Both are predicted, so the cell need not have run.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from memtrain.report.section import folded_lines
from memtrain.run.allocation import PACKED
from memtrain.run.kept_rates import UNKNOWN, kept_rates
from memtrain.units import format_bytes

MOST_MOMENTS = 400
"""The most steps that a plot shows. Of a longer iteration, it shows the highest step of each run of steps."""

MOST_LIVES = 100
"""The most bars that a plot has room for. Of more retained intermediates, an even selection is shown."""

KEPT_HEADS = ("value", "bytes", "steps", "backward reads it in")
"""The titles of the columns of ``LifeLines.kept``."""


@dataclass(frozen=True)
class Track:
    """The iteration of a mode, step by step."""

    mode: Mode
    moments: tuple[Moment, ...]
    """Every step, or the highest of each run of steps; the peak is always among them."""
    reasons: dict[int, str]
    """By step: why the value that this step computes is retained."""
    starts: dict[str, int]
    """The first step of each phase."""
    step_count: int
    peak: Moment

    def live_bytes(self, role: Role) -> list[int]:
        """The live bytes of a role at each moment."""
        return [moment.live_bytes[role] for moment in self.moments]

    @property
    def roles(self) -> list[Role]:
        """The roles that have bytes at some step, in the order of `Role`."""
        return [role for role in Role if any(self.live_bytes(role))]


@dataclass(frozen=True)
class Timeline:
    """Training and inference of a cell; ``train`` is ``None`` if its policy has no plan for training."""

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
    """All of them, or an even selection with the first and the last."""
    kept: tuple[Sequence[str], ...]
    """All of them as lines of a table (`KEPT_HEADS`), with repeated blocks folded."""
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
    """The timeline and the life lines of a cell, predicted from its graph.

    At most ``most_moments`` steps and ``most_lives`` lives are kept, evenly spread. A plan that minimises
    time uses ``rates``, or else the rates that are stored on this machine. Without any rates it minimises
    FLOPs. The readings say so, and also if training has no plan within the budget of the cell's policy.
    """
    if rates is None and cell.plans_by_time:
        rates = kept_rates()
    infer, _ = _track(cell, Mode.INFER, most_moments, rates)
    infer_bytes = format_bytes(infer.peak.total_bytes)
    try:
        train, retained = _track(cell, Mode.TRAIN, most_moments, rates)
    except SpecError as error:
        lacking = f"Training has no plan: {error}."
        reading = f"At {cell_name(cell)}, inference peaks at {infer_bytes} and retains nothing. {lacking}"
        return Timeline(None, infer, reading), LifeLines((), (), 0, 0, lacking)
    share = train.peak.live_bytes[Role.RETAINED] / train.peak.total_bytes
    peak = train.peak
    reading = (
        f"At {cell_name(cell)}, training peaks at {format_bytes(peak.total_bytes)}: in {peak.phase}, at step "
        f"{peak.step}, which computes {peak.node}. Retained intermediates are {100 * share:.0f} % of this "
        f"peak. Inference peaks at {infer_bytes} and retains nothing."
    )
    if cell.allocation_for(timing=False) == PACKED:
        reading += " All arrays lie in one arena. It may be larger than their sum; the rows count the arena."
    if rates is None and cell.plans_by_time:
        reading += f" {UNKNOWN[0].upper()}{UNKNOWN[1:]}."
    return Timeline(train, infer, reading), _life_lines(train, retained, most_lives, cell.accumulate)


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
    """The highest moment, or the first of equal ones, of each of at most ``most`` runs of equal length."""
    length = -(-len(moments) // most)
    runs = [moments[start : start + length] for start in range(0, len(moments), length)]
    return [max(run, key=lambda moment: moment.total_bytes) for run in runs]


def _life_lines(train: Track, retained: list[Retained], most: int, accumulate: int) -> LifeLines:
    backward_step = train.starts.get(Phase.BACKWARD, train.step_count)
    lives = tuple(
        LifeLine(entry.name, entry.bytes, entry.born_step, entry.freed_step, reason(entry))
        for entry in _evenly(retained, most)
    )
    kept = folded_lines(
        retained, lambda entry: (entry.bytes, len(entry.read_by)), _kept_line, len(KEPT_HEADS)
    )
    reading = _life_reading(retained, len(lives), accumulate)
    return LifeLines(lives, tuple(kept), backward_step, train.step_count, reading)


def _kept_line(entry: Retained) -> Sequence[str]:
    readers = "\n".join(f"{reader.formula} ({reader.purpose})" for reader in entry.read_by)
    return entry.name, f"{entry.bytes:,}", f"{entry.born_step}–{entry.freed_step}", readers


def _evenly(entries: list[Retained], most: int) -> list[Retained]:
    if len(entries) <= most:
        return entries
    return [entries[index * (len(entries) - 1) // (most - 1)] for index in range(most)]


def _life_reading(retained: list[Retained], shown: int, accumulate: int) -> str:
    if not retained:
        return "Forward keeps nothing for backward."
    total = format_bytes(sum(entry.bytes for entry in retained))
    first = min(retained, key=lambda entry: entry.freed_step)
    last = max(retained, key=lambda entry: entry.freed_step)
    if len(retained) == 1:
        return f"Forward keeps {first.name} ({total}) for backward, until step {first.freed_step}."
    micro = f"In {accumulate} micro-batches, forward" if accumulate > 1 else "Forward"
    sentence = (
        f"{micro} keeps {len(retained)} intermediates for backward, {total} in all. The first to be freed is "
        f"{first.name}, at step {first.freed_step}; the last is {last.name}, at step {last.freed_step}."
    )
    return sentence if shown == len(retained) else f"{sentence} The figure shows {shown} of them."
