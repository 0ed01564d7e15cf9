"""The live bytes of an iteration, step by step and by role; the peak and the runner-up."""

from __future__ import annotations

from dataclasses import dataclass

from memtrain.graph.node import Role
from memtrain.plan.liveness import Liveness, workspace_bytes


@dataclass(frozen=True)
class Moment:
    """A step and what is live while it runs."""

    step: int
    phase: str
    node: str
    live_bytes: dict[Role, int]

    @property
    def total_bytes(self) -> int:
        """All that is live."""
        return sum(self.live_bytes.values())


@dataclass(frozen=True)
class RunnerUp:
    """The highest summit but the peak: where the peak moves once it has sunk by ``margin_bytes``."""

    moment: Moment
    margin_bytes: int


def timeline(liveness: Liveness) -> list[Moment]:
    """Every step of the schedule."""
    schedule = liveness.schedule
    steps = schedule.steps
    changes: list[dict[Role, int]] = [{} for _ in range(len(steps) + 1)]
    for life in liveness.lives:
        start, end = changes[life.born_step], changes[min(life.freed_step + 1, len(steps))]
        start[life.role] = start.get(life.role, 0) + life.node.nbytes
        end[life.role] = end.get(life.role, 0) - life.node.nbytes
    live = dict.fromkeys(Role, 0)
    moments = []
    for place, step in enumerate(steps):
        for role, count in changes[place].items():
            live[role] += count
        now = {**live, Role.WORKSPACE: workspace_bytes(schedule, place)}
        moments.append(Moment(place, str(step.phase), schedule.graph[step.node].name, now))
    return moments


def runner_up(moments: list[Moment], peak_step: int) -> RunnerUp | None:
    """The highest step that is not on a slope of the peak (or of one as high); ``None`` if there is none."""
    totals = [moment.total_bytes for moment in moments]
    if not totals:
        return None
    slopes: set[int] = set()
    for summit in (place for place, total in enumerate(totals) if total == totals[peak_step]):
        left = right = summit
        while left > 0 and totals[left - 1] <= totals[left]:
            left -= 1
        while right + 1 < len(totals) and totals[right + 1] <= totals[right]:
            right += 1
        slopes.update(range(left, right + 1))
    outside = [place for place in range(len(totals)) if place not in slopes]
    if not outside:
        return None
    best = max(outside, key=totals.__getitem__)
    return RunnerUp(moments[best], totals[peak_step] - totals[best])
