"""An explanation as plain data: why each intermediate is kept, for how long, and the proof."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

from memtrain.cells.cell import Mode
from memtrain.cells.kinds import csv_line
from memtrain.cells.row import Row
from memtrain.explaining.evidence import Explained
from memtrain.explaining.explanation import Account, Explanation
from memtrain.explaining.folding import fold_names, in_order
from memtrain.explaining.footprint import RoleFootprint
from memtrain.explaining.formulas import Formula, symbols
from memtrain.explaining.reasons import Reader, Recomputed, Retained
from memtrain.report.proofs import proof_section, second_sections
from memtrain.report.section import Section, folded_lines
from memtrain.units import format_bytes, format_flops

CSV_COLUMNS = (
    *("name", "fate", "shape", "dtype", "bytes", "formula", "made_by"),
    *("born_step", "freed_step", "computed_steps", "read_by", "reason"),
)
"""Of a line per intermediate; what is not said of one is empty."""


def explained_csv(explained: Explained) -> str:
    """A line per intermediate: retained, recomputed or dropped, and why."""
    explanation = explained.explanation
    lines: list[Sequence[object]] = [
        (*_told(entry, "retained"), entry.born_step, entry.freed_step, None, _read_by(entry.read_by), None)
        for entry in explanation.retained
    ]
    for again in explanation.recomputed:
        steps = " ".join(map(str, again.computed_steps))
        read_by = _read_by(again.read_by)
        lines.append((*_told(again, "recomputed"), None, again.freed_step, steps, read_by, None))
    recomputed = {entry.name for entry in explanation.recomputed}
    lines += [
        (entry.name, "dropped", None, None, entry.bytes, *[None] * 6, entry.reason)
        for entry in explanation.dropped
        if entry.name not in recomputed
    ]
    return "".join(map(csv_line, [CSV_COLUMNS, *lines]))


def _told(entry: Retained | Recomputed, fate: str) -> tuple[object, ...]:
    return entry.name, fate, _shape(entry), entry.dtype, entry.bytes, entry.formula, entry.producer


def _read_by(readers: Iterable[Reader]) -> str:
    return "; ".join(f"{reader.formula}, {reader.purpose}" for reader in readers)


def _shape(entry: Retained | Recomputed) -> str:
    return "×".join(map(str, entry.shape))


def explained_sections(explained: Explained) -> Iterator[Section]:
    """All that is said of a cell, but for its timelines."""
    explanation = explained.explanation
    yield from reasons(explanation)
    for mode, account in accounts(explanation):
        yield Section(f"The peak of {mode.noun}", sentences=[peak_words(account)])
    yield from footprints(explanation, explained.rows)
    if explained.proof is not None:
        yield proof_section(explained.proof)
    if explained.second is not None:
        yield from second_sections(explained.second)


def accounts(explanation: Explanation) -> list[tuple[Mode, Account]]:
    """What is predicted of training, then of inference."""
    return [(Mode.TRAIN, explanation.train), (Mode.INFER, explanation.infer)]


def reasons(explanation: Explanation) -> Iterator[Section]:
    """The summary, the graph as formulas, and why each intermediate is kept or not."""
    yield Section(sentences=[summary(explanation)])
    yield _formulas("The graph, forward", explanation.forward)
    yield _formulas("The gradients, with the shape of each value and factor", explanation.gradients)
    yield _retained(explanation.retained)
    if explanation.recomputed:
        yield _recomputed(f"Computed again ({explanation.cell.policy})", explanation.recomputed)
    yield _dropped(explanation)


def summary(explanation: Explanation) -> str:
    """What is kept, why, what it costs, and what storing it saves, in a paragraph."""
    train, infer = explanation.train, explanation.infer
    kept = sum(entry.bytes for entry in explanation.retained)
    names = fold_names(explanation.retained)
    work = explanation.recomputation
    again = fold_names(sorted(explanation.recomputed, key=in_order))
    sentences = [
        f"Forward keeps {names}: {format_bytes(kept)}. Backward reads {again} too; that is computed again."
        if again
        else f"Backward reads {names} again, and forward keeps that for it: {format_bytes(kept)}.",
        f"Training needs {format_bytes(train.peak.total_bytes)} at its peak; inference keeps nothing and "
        f"needs {format_bytes(infer.peak.total_bytes)}.",
        "If nothing were stored, each gradient would compute what it reads again from x on: "
        f"{format_flops(work.extra_flops)} more, {work.multiple:.1f} × the forward pass of "
        f"{format_flops(work.forward_flops)}.",
    ]
    return " ".join(sentences)


def _formulas(title: str, formulas: Sequence[Formula]) -> Section:
    def shapes(formula: Formula) -> Hashable:
        return formula.shape, tuple(shape for _, shape in formula.factors)

    def line(formula: Formula) -> Sequence[str]:
        factors = ", ".join(f"{text} {shape}" for text, shape in formula.factors)
        return str(formula), f"{formula.shape}  from {factors}" if factors else formula.shape

    heads = ("formula", "shapes")
    return Section(title, heads, folded_lines(formulas, shapes, line, 2), frozenset({0, 1}))


def _readers(entry: Retained | Recomputed) -> Hashable:
    return entry.shape, len(entry.read_by)


def _retained(entries: Sequence[Retained]) -> Section:
    def line(entry: Retained) -> Sequence[str]:
        return (
            entry.name,
            _shape(entry),
            f"{entry.bytes:,}",
            entry.formula,
            entry.producer,
            f"{entry.born_step}–{entry.freed_step}",
            str(entry.freed_step - entry.born_step),
            "\n".join(f"{reader.formula}, {reader.purpose}" for reader in entry.read_by),
        )

    heads = ("name", "shape", "bytes", "formula", "made by", "steps", "waits", "read by")
    lines = folded_lines(entries, _readers, line, len(heads))
    return Section("Kept from forward for backward", heads, lines, frozenset({0, 1, 3, 4, 7}))


def _recomputed(title: str, entries: Sequence[Recomputed]) -> Section:
    def line(entry: Recomputed) -> Sequence[str]:
        again = entry.computed_steps[1:]
        return (
            entry.name,
            f"{entry.bytes:,}",
            str(len(again)),
            ", ".join(map(str, again[:4])) + (" …" if len(again) > 4 else ""),
            entry.producer,
            "\n".join(f"{reader.formula}, {reader.purpose}" for reader in entry.read_by),
        )

    heads = ("name", "bytes", "times", "at steps", "by", "for")
    return Section(title, heads, folded_lines(entries, _readers, line, len(heads)), frozenset({0, 3, 4, 5}))


def _dropped(explanation: Explanation) -> Section:
    """Why the others are not kept; values of a single number are not worth a line."""
    again = {entry.name for entry in explanation.recomputed}
    number_bytes = 8 if explanation.cell["dtype"] == "float64" else 4
    arrays = [
        entry for entry in explanation.dropped if entry.bytes > number_bytes and entry.name not in again
    ]
    if not arrays:
        return Section("Not kept", sentences=["every intermediate is kept"])
    lines = folded_lines(arrays, lambda entry: entry.bytes, lambda entry: (entry.name, entry.reason), 2)
    return Section("Not kept", ("name", "reason"), lines, frozenset({0, 1}))


def peak_words(account: Account) -> str:
    """Where the peak is, what stands there, and where it would move next."""
    peak = account.peak
    roles = sorted(((count, role) for role, count in peak.live_bytes.items() if count), reverse=True)
    standing = ", ".join(f"{role} {format_bytes(count)}" for count, role in roles)
    words = f"Peak {peak.total_bytes:,} B at step {peak.step} ({peak.phase}, {peak.node}): {standing}."
    second = account.runner_up
    if second is None:
        return words
    where = f"step {second.moment.step} ({second.moment.node})"
    if not second.margin_bytes:
        return f"{words} As high at {where}."
    return (
        f"{words} Runner-up {second.moment.total_bytes:,} B at {where}: the peak moves there once "
        f"{format_bytes(second.margin_bytes)} are saved at its step."
    )


def footprints(explanation: Explanation, rows: dict[Mode, Row]) -> Iterator[Section]:
    """The footprint at the peak in symbols, of each mode, beside what the ledger has."""
    sizes = [f"{name} = {size}" for name, size in symbols(explanation.train.schedule.graph).items()]
    sizes.append(f"L = {explanation.cell['depth']}")
    yield Section(f"The footprint at the peak ({', '.join(sizes)})")
    for mode, account in accounts(explanation):
        yield _footprint(mode, account.footprint, rows.get(mode))


def _footprint(mode: Mode, entries: Sequence[RoleFootprint], row: Row | None) -> Section:
    def measured(column: str) -> int | None:
        return None if row is None else row[column]

    ledger, heap = measured("ledger_peak_bytes"), measured("heap_peak_bytes")
    lines = [
        (str(entry.role), entry.formula, f"{entry.bytes:,}", _number(measured(f"peak_{entry.role}_bytes")))
        for entry in entries
    ]
    lines.append(("all", "", f"{sum(entry.bytes for entry in entries):,}", _number(ledger)))
    if heap is not None and ledger is not None:
        lines.append(("numpy's own", "shapes, strides, buffers of a call", "", _number(heap - ledger)))
        lines.append(("heap (memray)", "", "", _number(heap)))
    heads = (mode.noun, "bytes as a formula", "predicted", "ledger")
    return Section("", heads, lines, frozenset({0, 1}))


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
