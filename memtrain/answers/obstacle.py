"""Why no plan of rematerialisation lowers a peak: what is live there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memtrain.cells.cell import Cell, Mode
from memtrain.graph.node import Name, Phase, Role
from memtrain.planning.liveness import Liveness, analyse
from memtrain.planning.remat.chain import Chain, chains


@dataclass(frozen=True)
class Obstacle:
    """The peak of a training that keeps all, where no plan has a smaller peak."""

    step: int
    phase: Phase
    node: str
    role_bytes: dict[Role, int]
    kept: tuple[Name, ...]
    """The values that forward keeps for backward and that are live at the step."""
    needed: bool
    """Whether the part of backward that runs at the step reads each of ``kept``: no plan can drop these."""


def obstacle_of(cell: Cell) -> Obstacle | None:
    """The peak of a cell that keeps all; ``None`` for a network without steps.

    If several steps are equally high, it is the first at which all kept values are needed, or else the first.
    """
    liveness = analyse(cell.keep_all(Mode.TRAIN))
    stages = chains(liveness.schedule)
    highest = [step for step, live in enumerate(liveness.live_bytes) if live == liveness.peak_bytes]
    found = (_obstacle_at(liveness, stages, step) for step in highest)
    needed = next((one for one in found if one.needed), None)
    return needed or (_obstacle_at(liveness, stages, highest[0]) if highest else None)


def _obstacle_at(liveness: Liveness, stages: Sequence[Chain], step: int) -> Obstacle:
    schedule = liveness.schedule
    standing = liveness.standing(step)
    kept = [life.node for life in standing if life.role is Role.RETAINED]
    role_bytes = {role: sum(life.node.nbytes for life in standing if life.role is role) for role in Role} | {
        Role.WORKSPACE: liveness.occupancy.workspace_bytes[step]
    }
    return Obstacle(
        step=step,
        phase=schedule.steps[step].phase,
        node=schedule.graph[schedule.steps[step].node].name,
        role_bytes=role_bytes,
        kept=tuple(node.called for node in kept),
        needed=_read_in_stage_of(stages, step) >= {node.id for node in kept},
    )


def _read_in_stage_of(stages: Sequence[Chain], step: int) -> set[int]:
    """The kept values that are read by the backward of the stage that a step belongs to."""
    for chain in stages:
        for number, steps in enumerate(chain.backward):
            if step in steps:
                return {*chain.inner[number], *chain.outputs[max(number - 1, 0) : number]}
    return set()
