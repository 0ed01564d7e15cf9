"""The live bytes of an iteration, step by step and by role; the peak and the runner-up."""

from __future__ import annotations

from dataclasses import dataclass

from memtrain.graph.node import Role
from memtrain.planning.liveness import Liveness


@dataclass(frozen=True)
class Moment:
    """A step and what is live while it runs."""

    step: int
    phase: str
    node: str
    live_bytes: dict[Role, int]

    @property
    def total_bytes(self) -> int:
        """The bytes of all that is live."""
        return sum(self.live_bytes.values())


@dataclass(frozen=True)
class RunnerUp:
    """The second-highest step. It becomes the peak if more than ``margin_bytes`` are saved at the peak."""

    moment: Moment
    margin_bytes: int


def timeline(liveness: Liveness) -> list[Moment]:
    """Every step of the schedule."""
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
