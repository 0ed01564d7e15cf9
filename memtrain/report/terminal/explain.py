"""`memtrain explain` for a terminal: graph, gradients, retained table, timeline, footprint."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memtrain.cells.cell import Mode
from memtrain.cells.row import Row
from memtrain.explain.explanation import Account, Explanation
from memtrain.explain.folding import Named, fold, fold_names
from memtrain.explain.footprint import RoleFootprint
from memtrain.explain.formulas import Formula, symbols
from memtrain.explain.proof import Proof
from memtrain.explain.reasons import Recomputed, Retained
from memtrain.explain.second import SecondOrder
from memtrain.explain.timeline import Moment
from memtrain.graph.node import Role
from memtrain.units import format_bytes, format_flops

Item = TypeVar("Item", bound=Named)

_STYLES = {
    Role.PARAMETER: ("█", "blue"),
    Role.OPTIMIZER: ("▓", "magenta"),
    Role.INPUT: ("░", "cyan"),
    Role.GRADIENT: ("▒", "yellow"),
    Role.RETAINED: ("■", "red"),
    Role.RECOMPUTED: ("◇", "bright_red"),
    Role.TRANSIENT: ("·", "green"),
    Role.WORKSPACE: ("+", "white"),
}
"""A character and a colour for each role, so that a bar can be read without colours too."""

_ASCII = dict(zip(Role, "PGOIRCTW", strict=True))
"""The marks of a terminal that has no blocks."""

_MOST_NAME = 14
_MOST_ROWS = 28
"""Lines of a timeline: longer ones show the highest step of each stretch."""


def sections(
    explanation: Explanation, rows: dict[Mode, Row], width: int, ascii_only: bool
) -> Iterator[RenderableType]:
    """The parts of the explanation, in order. ``rows`` hold what was measured, if anything was."""
    yield Text(summary(explanation))
    yield _titled("The graph, forward", _formulas(explanation.forward))
    yield _titled("The gradients, with the shape of each value and factor", _formulas(explanation.gradients))
    yield _titled("Kept from forward for backward", _retained(explanation.retained))
    if explanation.recomputed:
        yield _titled(f"Computed again ({explanation.cell.policy})", _recomputed(explanation.recomputed))
    yield _titled("Not kept", _dropped(explanation))
    yield _timelines(explanation, width, ascii_only)
    yield _footprints(explanation, rows)


def summary(explanation: Explanation) -> str:
    """What is kept, why, what it costs, and what storing it saves, in a paragraph."""
    train, infer = explanation.train, explanation.infer
    kept = sum(entry.bytes for entry in explanation.retained)
    names = fold_names(explanation.retained)
    work = explanation.work
    again = fold_names(sorted(explanation.recomputed, key=_in_order))
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


def _in_order(value: Named) -> tuple[str, list[int]]:
    """A key that puts h2 before h10."""
    return value.label, [block.number or 0 for block in value.scope]


def second_section(second: SecondOrder) -> RenderableType:
    """The second-order graph beside the first-order one."""
    table = _table()
    for title in ("", "peak", "kept for it", "bytes"):
        table.add_column(title, justify="left" if title in ("", "kept for it") else "right")
    for name, liveness, kept in (
        ("gradient", second.first, second.first_kept),
        ("Hessian · v", second.second, second.second_kept),
    ):
        names = fold_names(sorted(kept, key=_in_order))
        table.add_row(
            name, format_bytes(liveness.peak_bytes), names, format_bytes(sum(n.nbytes for n in kept))
        )
    if second.relative_error is None:
        checked = f"The product was not checked: {second.unchecked}."
    else:
        verdict = "agrees with" if second.ok else "is WRONG: it differs from"
        checked = (
            "Checked near the start values, in float64, where no unit changes sides within the step: the "
            f"product {verdict} central differences of the gradient; "
            f"relative error {second.relative_error:.0e}."
        )
    parts = (table, Text(), _at_peak(second), Text(checked))
    return _titled("Second order: the Hessian times a direction v, as ∂(g·v)/∂W", Group(*parts))


def _at_peak(second: SecondOrder) -> Table:
    """All that stands at the peak of the product; the bytes add up."""
    liveness = second.second
    table = _table()
    step = f"step {liveness.peak_step}" + (f", {node.name}" if (node := liveness.peak_node) else "")
    for title in ("at the peak", step, "bytes"):
        table.add_column(title, justify="right" if title == "bytes" else "left")
    for entry in second.second_standing:
        names = fold_names(sorted(entry.names, key=_in_order))
        if entry.number_count:
            counted = f"{entry.number_count} number{'s' if entry.number_count > 1 else ''}"
            names = f"{names}, {counted}" if names else counted
        table.add_row(entry.purpose, names, f"{entry.bytes:,}")
    table.add_section()
    table.add_row("all", "", f"{liveness.peak_bytes:,}")
    return table


def proof_section(proof: Proof) -> RenderableType:
    """What changes when a retained array is lost, and that nothing else is missed."""
    table = _table()
    for title in ("filled with NaN", "bytes", "gradients that differ"):
        table.add_column(title, justify="right" if title == "bytes" else "left")
    for entry, more in _folded(proof.needed, lambda entry: entry.nbytes):
        if entry is None:
            table.add_row(more)
        else:
            table.add_row(entry.name, f"{entry.nbytes:,}", fold_names(entry.changes) or "none")
    verdict = "Proved: each is needed; and with every storage NaN when made and when freed no bit differs."
    return _titled("The proof", Group(table, Text("\n".join(proof.failures()) or verdict)))


def _titled(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(title, style="bold"), body)


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)


def _folded(items: Sequence[Item], shown: Callable[[Item], Hashable]) -> Iterator[tuple[Item | None, str]]:
    for item, count in fold(items, shown):
        yield item, f"⋮ × {count}" if item is None else ""


def _shapes(formula: Formula) -> Hashable:
    return formula.shape, tuple(shape for _, shape in formula.factors)


def _readers(entry: Retained | Recomputed) -> Hashable:
    return entry.shape, len(entry.read_by)


def _formulas(formulas: Sequence[Formula]) -> RenderableType:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2), pad_edge=True)
    for formula, more in _folded(formulas, _shapes):
        if formula is None:
            table.add_row(more)
            continue
        shapes = ", ".join(f"{text} {shape}" for text, shape in formula.factors)
        sizes = f"{formula.shape}  from {shapes}" if shapes else formula.shape
        table.add_row(Text(str(formula)), Text(sizes, style="dim"))
    return table


def _retained(entries: Sequence[Retained]) -> RenderableType:
    table = _table()
    for title in ("name", "shape", "bytes", "formula", "made by", "steps", "waits", "read by"):
        table.add_column(title, justify="right" if title in ("bytes", "steps", "waits") else "left")
    for entry, more in _folded(entries, _readers):
        if entry is None:
            table.add_row(more)
            continue
        readers = "\n".join(f"{reader.formula}, {reader.purpose}" for reader in entry.read_by)
        table.add_row(
            entry.name,
            "×".join(map(str, entry.shape)),
            f"{entry.bytes:,}",
            entry.formula,
            Text(entry.producer),
            f"{entry.born_step}–{entry.freed_step}",
            str(entry.freed_step - entry.born_step),
            Text(readers),
        )
    return table


def _recomputed(entries: Sequence[Recomputed]) -> RenderableType:
    table = _table()
    for title in ("name", "bytes", "times", "at steps", "by", "for"):
        table.add_column(title, justify="right" if title in ("bytes", "times") else "left")
    for entry, more in _folded(entries, _readers):
        if entry is None:
            table.add_row(more)
            continue
        again = entry.computed_steps[1:]
        places = ", ".join(map(str, again[:4])) + (" …" if len(again) > 4 else "")
        readers = "\n".join(f"{reader.formula}, {reader.purpose}" for reader in entry.read_by)
        table.add_row(
            entry.name, f"{entry.bytes:,}", str(len(again)), places, Text(entry.producer), Text(readers)
        )
    return table


def _dropped(explanation: Explanation) -> RenderableType:
    again = {entry.name for entry in explanation.recomputed}
    arrays = [
        entry
        for entry in explanation.dropped
        if entry.bytes > _number_bytes(explanation) and entry.name not in again
    ]
    lines = [
        f"  {more}" if entry is None else f"  {entry.name}: {entry.reason}"
        for entry, more in _folded(arrays, lambda entry: entry.bytes)
    ]
    return Text("\n".join(lines) or "  every intermediate is kept")


def _number_bytes(explanation: Explanation) -> int:
    """Bytes of a single number of the cell's type: values of that size are not worth a line."""
    return 8 if explanation.cell["dtype"] == "float64" else 4


def _timelines(explanation: Explanation, width: int, ascii_only: bool) -> RenderableType:
    accounts = (explanation.train, explanation.infer)
    highest = max(account.peak.total_bytes for account in accounts)
    moments = [moment for account in accounts for moment in account.timeline]
    names = min(max(len(moment.node) for moment in moments), _MOST_NAME)
    room = max(10, width - names - 27)  # one scale for both
    marks = _ASCII if ascii_only else {role: mark for role, (mark, _) in _STYLES.items()}
    shown = [role for role in _STYLES if any(moment.live_bytes[role] for moment in moments)]
    legend = Text.assemble(
        "Live bytes by step: ", *((f"{marks[role]}={role} ", _STYLES[role][1]) for role in shown)
    )
    parts: list[RenderableType] = [legend]
    for mode, account in ((Mode.TRAIN, explanation.train), (Mode.INFER, explanation.infer)):
        count = len(account.timeline)
        words = f"{mode.noun}, {count} step{'' if count == 1 else 's'}"
        if count > _MOST_ROWS:
            words += ", the highest of each stretch"
        parts.append(Text(words, style="bold"))
        parts.append(_bars(account, highest, names, room, marks))
        parts.append(Text(_peak_words(account)))
    return Group(*parts)


def _bars(account: Account, highest: int, names: int, room: int, marks: Mapping[Role, str]) -> Text:
    lines = Text()
    for moment in _highest_of_each_stretch(account.timeline):
        lines.append(f"{moment.step:>6} {moment.phase:<9} {moment.node[:names]:<{names}} ")
        lines.append(_bar(moment, highest, room, marks))
        mark = " ◄ peak" if moment is account.peak else ""
        lines.append(f"{mark}\n", style="bold")
    lines.rstrip()
    return lines


def _bar(moment: Moment, highest: int, room: int, marks: Mapping[Role, str]) -> Text:
    bar, done, drawn = Text(), 0, 0
    for role, (_, colour) in _STYLES.items():
        done += moment.live_bytes[role]
        end = round(room * done / highest) if highest else 0
        bar.append(marks[role] * (end - drawn), style=colour)
        drawn = end
    return bar


def _highest_of_each_stretch(moments: list[Moment]) -> list[Moment]:
    stretch = -(-len(moments) // _MOST_ROWS)
    return [
        max(moments[start : start + stretch], key=lambda moment: moment.total_bytes)
        for start in range(0, len(moments), max(stretch, 1))
    ]


def _peak_words(account: Account) -> str:
    peak = account.peak
    roles = sorted(((count, role) for role, count in peak.live_bytes.items() if count), reverse=True)
    standing = ", ".join(f"{role} {format_bytes(count)}" for count, role in roles)
    words = f"Peak {peak.total_bytes:,} B at step {peak.step} ({peak.phase}, {peak.node}): {standing}."
    second = account.runner_up
    if second is not None:
        where = f"step {second.moment.step} ({second.moment.node})"
        words += (
            f" Runner-up {second.moment.total_bytes:,} B at {where}: the peak moves there once "
            f"{format_bytes(second.margin_bytes)} are saved at its step."
            if second.margin_bytes
            else f" As high at {where}."
        )
    return words


def _footprints(explanation: Explanation, rows: dict[Mode, Row]) -> RenderableType:
    sizes = [f"{name} = {size}" for name, size in symbols(explanation.train.schedule.graph).items()]
    sizes.append(f"L = {explanation.cell['depth']}")
    parts: list[RenderableType] = [Text(f"The footprint at the peak ({', '.join(sizes)})", style="bold")]
    for mode, account in ((Mode.TRAIN, explanation.train), (Mode.INFER, explanation.infer)):
        parts += [_footprint(mode, account.footprint, rows.get(mode)), Text()]
    return Group(*parts[:-1])


def _footprint(mode: Mode, entries: Sequence[RoleFootprint], row: Row | None) -> Table:
    table = _table()
    table.add_column(mode.noun)
    table.add_column("bytes as a formula")
    table.add_column("predicted", justify="right")
    table.add_column("ledger", justify="right")
    for entry in entries:
        ledger = None if row is None else row[f"peak_{entry.role}_bytes"]
        table.add_row(str(entry.role), entry.formula, f"{entry.bytes:,}", _number(ledger))
    ledger_peak = None if row is None else row["ledger_peak_bytes"]
    table.add_section()
    table.add_row("all", "", f"{sum(entry.bytes for entry in entries):,}", _number(ledger_peak))
    if row is not None and row["heap_peak_bytes"] is not None and ledger_peak is not None:
        table.add_row(
            "numpy's own",
            "shapes, strides, buffers of a call",
            "",
            _number(row["heap_peak_bytes"] - ledger_peak),
        )
        table.add_row("heap (memray)", "", "", _number(row["heap_peak_bytes"]))
    return table


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
