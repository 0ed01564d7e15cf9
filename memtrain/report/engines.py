"""Sentences on two engines that train the same networks: who needs more, by how much, and because of what."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memtrain.answers.engine_gap import BUFFERS, SAVED, TEMPORARIES, EngineGap
from memtrain.cells.cell import Cell
from memtrain.models.network import FeedKind
from memtrain.report.agreement import COPIES
from memtrain.units import format_bytes

_NO_REUSE = "PyTorch computes no result in the buffer of an input"
_BECAUSE = {
    BUFFERS: _NO_REUSE,
    TEMPORARIES: "its optimiser computes with whole arrays, memtrain's with blocks",
}
"""Why PyTorch may hold more bytes of a kind."""

_SHARE = 0.01
"""Differences below this share of the gap are not told."""


def engine_sentences(gaps: Sequence[EngineGap], name_of: Callable[[Cell], str]) -> list[str]:
    """Sentences on the cells that both engines train; empty if there are none."""
    if not gaps:
        return []
    more = [gap for gap in gaps if gap.torch_bytes > gap.numpy_bytes]
    less = [gap for gap in gaps if gap.torch_bytes < gap.numpy_bytes]
    convolutions = any(gap.cell.network.reads is FeedKind.IMAGE for gap in gaps)
    counts = f"more memory than memtrain in {len(more)} of {len(gaps)} cells of training"
    counts += f", and less in {len(less)}" if less else ""
    return [
        f"PyTorch needs {counts}.",
        *(_extreme(max(more, key=lambda gap: gap.ratio), "largest", name_of) if more else []),
        *(_extreme(min(less, key=lambda gap: gap.ratio), "smallest", name_of) if less else []),
        *([f"These are predicted peaks. {COPIES}"] if convolutions else []),
    ]


def _extreme(gap: EngineGap, word: str, name_of: Callable[[Cell], str]) -> list[str]:
    """The cell with the largest or smallest ratio, and the differences that make at least 1 % of the gap."""
    least = _SHARE * abs(gap.torch_bytes - gap.numpy_bytes)
    shown = sorted(gap.kinds.items(), key=lambda item: -abs(item[1]))
    shown = [(kind, difference) for kind, difference in shown if abs(difference) >= least]
    parts = [
        f"{format_bytes(abs(difference))} {'more' if difference > 0 else 'less'} of {kind}"
        + _reason(gap, kind, difference)
        for kind, difference in shown
    ]
    ours, theirs = gap.where
    return [
        f"The ratio of the engines is {word} at {name_of(gap.cell)}: "
        f"PyTorch's {format_bytes(gap.torch_bytes)}, at {theirs}, are {gap.ratio:.2f} × memtrain's "
        f"{format_bytes(gap.numpy_bytes)}, at {ours}. At its peak, PyTorch has {_joined(parts)}."
    ]


def _reason(gap: EngineGap, kind: str, difference: int) -> str:
    """Why PyTorch holds ``difference`` more bytes of a kind; empty if that is not told."""
    if difference <= 0 or kind not in (*_BECAUSE, SAVED):
        return ""
    if kind != SAVED:
        return f" ({_BECAUSE[kind]})"
    if gap.saved_more_bytes >= difference:
        return f" (its functions save {format_bytes(gap.saved_more_bytes)} more)"
    return f" ({_NO_REUSE}, as memtrain does with a value that backward has read)"


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
