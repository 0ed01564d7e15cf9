"""The live bytes of an iteration, step by step and by role; its peak and the second-highest step."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby

from memtrain.graph.node import Role
from memtrain.planning.liveness import Liveness


@dataclass(frozen=True)
class Moment:
    """A step, and the bytes that are live while it runs."""

    step: int
    phase: str
    node: str
    live_bytes: dict[Role, int]

    @property
    def total_bytes(self) -> int:
        """The live bytes of all roles."""
        return sum(self.live_bytes.values())


@dataclass(frozen=True)
class RunnerUp:
    """The second-highest step. It becomes the peak if more than ``margin_bytes`` are saved at the peak."""

    moment: Moment
    margin_bytes: int


@dataclass(frozen=True)
class Stretch:
    """Consecutive steps that are shown as one line: the first highest of them, and the name of the line."""

    highest: Moment
    name: str


def timeline(liveness: Liveness) -> list[Moment]:
    """A moment for each step of the schedule, in order."""
    schedule, roles = liveness.schedule, list(Role)
    live_bytes = zip(*map(liveness.role_bytes, roles), strict=False)
    return [
        Moment(number, str(step.phase), schedule.graph[step.node].name, dict(zip(roles, live, strict=True)))
        for number, (step, live) in enumerate(zip(schedule.steps, live_bytes, strict=False))
    ]


def runner_up(moments: list[Moment], peak_step: int) -> RunnerUp | None:
    """The highest step besides the peak, the first of equal ones; ``None`` for a single step."""
    others = [moment for moment in moments if moment.step != peak_step]
    if not others:
        return None
    best = max(others, key=lambda moment: moment.total_bytes)
    return RunnerUp(best, moments[peak_step].total_bytes - best.total_bytes)


def stretches(moments: Iterable[Moment], most: int, folded: Collection[str] = ()) -> list[Stretch]:
    """At most ``most`` stretches, which cover all steps.

    Consecutive steps that compute values named in ``folded`` stay in one stretch. The peak is always the
    highest step of its stretch.
    """
    runs: list[list[Moment]] = []
    for is_folded, group in groupby(moments, key=lambda moment: moment.node in folded):
        steps = list(group)
        runs += [steps] if is_folded else [[moment] for moment in steps]
    length = max(1, -(-len(runs) // most))
    return [_stretch(runs[start : start + length]) for start in range(0, len(runs), length)]


def _stretch(runs: list[list[Moment]]) -> Stretch:
    highest, run = max(
        ((moment, run) for run in runs for moment in run), key=lambda found: found[0].total_bytes
    )
    name = highest.node if len(run) == 1 else f"{run[0].node} … {run[-1].node}"
    return Stretch(highest, name)
