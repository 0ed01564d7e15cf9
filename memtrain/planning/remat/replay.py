"""The peak bytes and the cost of a plan for a chain of stages, found by following its moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from memtrain.planning.remat.checkpoints import Moves
from memtrain.planning.remat.stage import Stage


@dataclass(frozen=True)
class Outcome:
    """The peak bytes of a plan, the cost of its computations, and how many stages it computes."""

    peak_bytes: int
    cost: float
    forward_count: int


def replay(stages: Sequence[Stage], moves: Moves) -> Outcome:
    """The outcome of executing ``moves``. Values that no later move reads are neither computed nor kept.

    Both the computation and the backward of a stage read the output of the stage before. The backward also
    reads the inner values of its own stage. Each value is freed at its last read before it is recomputed.
    """
    uses = _uses(stages, moves)
    held = 0  # outputs and inner values that are kept
    peak, cost, count = 0, 0.0, 0
    last = len(stages) - 1
    waiting = last  # the stage whose backward comes next
    for move, use in zip(moves, uses, strict=True):
        k, stage = move.stage, stages[move.stage]
        given = stages[k - 1].output_bytes if k else 0
        if move.backward:
            waiting = k - 1
            peak = max(peak, held - stage.inner_bytes + stage.backward_peak_bytes)
            held -= given + stage.inner_bytes
            continue
        if not use.executed:
            continue
        base = held + stages[waiting].standing_bytes
        whole = use.output or k == last
        count += 1
        cost += stage.cost if whole else stage.again_cost
        if not whole:
            peak = max(peak, base + stage.again_peak_bytes)
        elif use.inner:
            peak = max(peak, base + stage.taped_peak_bytes)
        elif use.input_goes:
            peak = max(peak, base - given + stage.dropped_peak_bytes)
        else:
            peak = max(peak, base + stage.kept_peak_bytes)
        held += stage.output_bytes * use.output + stage.inner_bytes * use.inner - given * use.input_goes
    return Outcome(peak, cost, count)


class _Use(NamedTuple):
    """The use of one computation of a stage: which of its values are read, and whether it frees its input."""

    executed: bool
    output: bool
    inner: bool
    input_goes: bool


def _uses(stages: Sequence[Stage], moves: Moves) -> list[_Use]:
    last = len(stages) - 1
    output_read = [False] * (last + 1)  # by later moves: the loop starts at the end
    inner_read = [False] * (last + 1)
    found = []
    for k, backward in reversed(moves):
        if backward:
            output_read[k - 1] |= k > 0
            inner_read[k] = stages[k].inner_bytes > 0
            found.append(_Use(True, False, False, False))
            continue
        output, inner = output_read[k] and k != last, inner_read[k]
        executed = output or inner or k == last
        input_goes = executed and k > 0 and not output_read[k - 1]
        found.append(_Use(executed, output, inner, input_goes))
        output_read[k] = inner_read[k] = False
        if executed and k:
            output_read[k - 1] = True
    return found[::-1]
