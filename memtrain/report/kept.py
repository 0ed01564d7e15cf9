"""Tables of an explanation: the graph as formulas, and why each intermediate is kept or not."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from memtrain.explaining.by_layer import LayerBytes
from memtrain.explaining.explanation import Explanation
from memtrain.explaining.folding import LEAST_REPEATS, fold_names, kinds_of, of_parameters
from memtrain.explaining.formulas import Formula
from memtrain.explaining.reasons import Reader, Recomputed, Retained
from memtrain.explaining.saved import LayerPair, SavedValue
from memtrain.report.section import Section, folded_lines
from memtrain.units import format_bytes

_MOST_GROUPS = 6
"""The most lines of the short table of kept values."""

_KEPT = "Kept for backward (waits: steps until freed; shape: an example is a column)"


def reason_sections(explanation: Explanation) -> Iterator[Section]:
    """The graph and its gradients as formulas, and why each intermediate is kept or not."""
    yield _formulas("The graph, forward", _with_norms_folded(explanation))
    yield _formulas("The gradients, with the shape of each value and factor", explanation.gradients)
    yield _retained(explanation.retained)
    yield _by_layer(explanation.retained_by_layer)
    if explanation.saved:
        yield _saved(explanation.saved)
        yield _beside(explanation.beside)
    yield from recomputed_sections(explanation)
    yield _dropped(explanation)


def recomputed_sections(explanation: Explanation) -> Iterator[Section]:
    """The values that are computed again for backward, if there are any."""
    if explanation.recomputed:
        yield _recomputed(f"Computed again ({explanation.cell.policy})", explanation.recomputed)


def kept_in_short(entries: Sequence[Retained]) -> Section:
    """A table of kept values with a line for each group of values that differ only in their block.

    A line has the bytes of the group and the readers of its first value.
    """
    groups: dict[Hashable, list[Retained]] = {}
    for entry in entries:
        key = (entry.label, kinds_of(entry.scope), entry.book_shape, len(entry.read_by))
        groups.setdefault(key, []).append(entry)
    found = list(groups.values())
    lines = [_group(group) for group in found[:_MOST_GROUPS]]
    if found[_MOST_GROUPS:]:
        lines.append((f"⋮ × {len(found) - _MOST_GROUPS}", "", "", "", ""))
    reader = "read by (the first of several)" if len(entries) > len(found) else "read by"
    heads = ("name", "shape", "bytes", "waits", reader)
    return Section(_KEPT, heads, lines, frozenset({0, 1, 4}), text=4)


def _group(entries: Sequence[Retained]) -> Sequence[str]:
    waits = sorted({entry.freed_step - entry.born_step for entry in entries})
    return (
        fold_names(entries),
        _sizes(entries[0]),
        format_bytes(sum(entry.bytes for entry in entries)),
        str(waits[0]) if len(waits) == 1 else f"{waits[0]}–{waits[-1]}",
        _read_by(entries[0].read_by),
    )


def _with_norms_folded(explanation: Explanation) -> list[Formula]:
    """The formulas of forward, with one line for all norms of weights and their sums, if there are many."""
    numbers = of_parameters(explanation.train.schedule.graph)
    found: list[Formula] = []
    for is_folded, group in groupby(explanation.forward, key=lambda formula: formula.left in numbers):
        formulas = list(group)
        if is_folded and len(formulas) >= LEAST_REPEATS:
            first, last = formulas[0], formulas[-1]
            formulas = [replace(last, left=f"{first.left} … {last.left}")]
        found += formulas
    return found


def _formulas(title: str, formulas: Sequence[Formula]) -> Section:
    def shapes(formula: Formula) -> Hashable:
        return formula.shape, tuple(shape for _, shape in formula.factors)

    def line(formula: Formula) -> Sequence[str]:
        factors = ", ".join(f"{text} {shape}" for text, shape in formula.factors)
        return str(formula), f"{formula.shape}  from {factors}" if factors else formula.shape

    heads = ("formula", "shapes")
    return Section(title, heads, folded_lines(formulas, shapes, line, 2), frozenset({0, 1}), text=1)


def _retained(entries: Sequence[Retained]) -> Section:
    def line(entry: Retained) -> Sequence[str]:
        return (
            entry.name,
            f"{entry.book_shape} = {_sizes(entry)}",
            f"{entry.bytes:,}",
            entry.formula,
            entry.producer,
            f"{entry.born_step}–{entry.freed_step}",
            str(entry.freed_step - entry.born_step),
            _read_by(entry.read_by),
        )

    heads = ("name", "shape", "bytes", "formula", "made by", "steps", "waits", "read by")
    lines = folded_lines(entries, _readers, line, len(heads))
    return Section(_KEPT, heads, lines, frozenset({0, 1, 3, 4, 7}), text=7, spare=(3, 5, 4, 1))


def _by_layer(entries: Sequence[LayerBytes]) -> Section:
    def line(entry: LayerBytes) -> Sequence[str]:
        return entry.name, entry.formula, f"{entry.bytes:,}"

    lines = folded_lines(entries, lambda entry: entry.formula, line, 3)
    heads = ("layer", "bytes as a formula", "bytes")
    return Section("Kept for the gradients of each layer", heads, lines, frozenset({0, 1}), text=1)


def _saved(entries: Sequence[SavedValue]) -> Section:
    def line(entry: SavedValue) -> Sequence[str]:
        what = "the same storage again" if entry.again else entry.role
        sizes = "×".join(map(str, entry.shape))
        return entry.function, entry.variable, entry.name, sizes, f"{entry.bytes:,}", what

    def alike(entry: SavedValue) -> Hashable:
        return entry.function, entry.variable, entry.shape, entry.again

    heads = ("function", "saved as", "value", "shape", "bytes", "what")
    lines = folded_lines(entries, alike, line, len(heads))
    return Section("Saved by PyTorch's autograd", heads, lines, frozenset({0, 1, 2, 3, 5}), text=2)


def _beside(entries: Sequence[LayerPair]) -> Section:
    """What PyTorch keeps for the gradients of each layer, beside memtrain."""

    def line(entry: LayerPair) -> Sequence[str]:
        return entry.name, f"{entry.torch_bytes:,}", f"{entry.numpy_bytes:,}", entry.why

    def alike(entry: LayerPair) -> Hashable:
        return entry.torch_bytes, entry.numpy_bytes, entry.why

    title = "Kept for each layer by PyTorch and by memtrain, in bytes"
    heads = ("layer", "PyTorch", "memtrain", "PyTorch keeps more because")
    return Section(title, heads, folded_lines(entries, alike, line, 4), frozenset({0, 3}), text=3)


def _recomputed(title: str, entries: Sequence[Recomputed]) -> Section:
    def line(entry: Recomputed) -> Sequence[str]:
        again = entry.computed_steps[1:]
        return (
            entry.name,
            f"{entry.bytes:,}",
            str(len(again)),
            ", ".join(map(str, again[:4])) + (" …" if len(again) > 4 else ""),
            entry.producer,
            _read_by(entry.read_by),
        )

    heads = ("name", "bytes", "times", "at steps", "by", "read by")
    lines = folded_lines(entries, _readers, line, len(heads))
    return Section(title, heads, lines, frozenset({0, 3, 4, 5}), text=5, spare=(4,))


def _dropped(explanation: Explanation) -> Section:
    """Why the other intermediates are not kept; single numbers are left out."""
    again = {entry.name for entry in explanation.recomputed}
    number_bytes = 8 if explanation.cell["dtype"] == "float64" else 4
    arrays = [
        entry for entry in explanation.dropped if entry.bytes > number_bytes and entry.name not in again
    ]
    if not arrays:
        return Section("Not kept", sentences=["Every intermediate is kept or computed again."])
    lines = folded_lines(arrays, lambda entry: entry.bytes, lambda entry: (entry.name, entry.reason), 2)
    return Section("Not kept", ("name", "reason"), lines, frozenset({0, 1}), text=1)


def _readers(entry: Retained | Recomputed) -> Hashable:
    return entry.book_shape, len(entry.read_by)


def _read_by(readers: Iterable[Reader]) -> str:
    """A line for each reader."""
    return "\n".join(map(str, readers))


def _sizes(entry: Retained) -> str:
    return "×".join(map(str, entry.book_sizes))
