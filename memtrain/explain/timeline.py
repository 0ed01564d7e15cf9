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
    """The highest step but the peak: where the peak moves once ``margin_bytes`` are saved at its step."""

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
    """The highest other step, the first where several are as high; ``None`` for a single step."""
    others = [moment for moment in moments if moment.step != peak_step]
    if not others:
        return None
    best = max(others, key=lambda moment: moment.total_bytes)
    return RunnerUp(best, moments[peak_step].total_bytes - best.total_bytes)
