"""A sentence on inference with gradients on, which stores what backward would read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.row import Row
from memtrain.units import format_bytes


def history_sentences(
    pairs: Iterable[Mapping[Mode, Row]],
    peak_bytes: Callable[[Row], int | None],
    name_of: Callable[[Cell], str],
) -> list[str]:
    """What inference with gradients on needs, in the cell where the ratio to inference is largest."""
    found = [
        (with_history, without, pair[Mode.INFER].cell)
        for pair in pairs
        if Mode.EVAL_GRAD in pair
        and Mode.INFER in pair
        and (with_history := peak_bytes(pair[Mode.EVAL_GRAD]))
        and (without := peak_bytes(pair[Mode.INFER]))
    ]
    if not found:
        return []
    with_history, without, cell = max(found, key=lambda one: one[0] / one[1])
    return [
        f"With gradients on, inference stores what backward would read: {format_bytes(with_history)} at "
        f"{name_of(cell)}, {with_history / without:.1f} × the {format_bytes(without)} of inference. "
        "PyTorch's eval() does not turn them off; torch.no_grad() does."
    ]
