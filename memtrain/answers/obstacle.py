"""The obstacle: the peak that no plan of rematerialisation lowers, and the values that are live at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memtrain.cells.cell import Cell, Mode
from memtrain.graph.node import Name, Phase, Role
from memtrain.planning.liveness import Liveness, analyse
from memtrain.planning.remat.chain import Chain, chains


@dataclass(frozen=True)
class Obstacle:
    """The peak of a training that keeps all, if no plan has a smaller peak."""

    step: int
    phase: Phase
    node: str
    role_bytes: dict[Role, int]
    kept: tuple[Name, ...]
    """The retained values that are live at the step."""
    needed: bool
    """Whether the stage whose backward runs at the step reads all of ``kept``. Then no plan can drop them."""


def obstacle_of(cell: Cell) -> Obstacle | None:
    """The peak of a cell that keeps all; ``None`` for a network without steps.

    If several steps have the peak, the result is the first of them that needs all its retained values, or
    otherwise the first of them.
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
    """The retained values that the backward of the stage of ``step`` reads."""
    for chain in stages:
        for number, steps in enumerate(chain.backward):
            if step in steps:
                return {*chain.inner[number], *chain.outputs[max(number - 1, 0) : number]}
    return set()
