"""Sentences and tables on kept values, on the values that are live at the peak, and on the footprint."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from memtrain.cells.cell import Mode
from memtrain.cells.row import Row
from memtrain.explaining.explanation import Account, Explanation
from memtrain.explaining.folding import folded_names, in_order
from memtrain.explaining.footprint import RoleFootprint
from memtrain.explaining.formulas import symbols
from memtrain.graph.node import Role
from memtrain.models.network import DEPTH, SYMBOL_WORDS
from memtrain.report.colours import ROLE_WORDS
from memtrain.report.findings import statistics_sentences
from memtrain.report.section import Section
from memtrain.units import binary_unit, format_bytes, format_count, format_flops

MEANINGS = tuple(f"{role}: {ROLE_WORDS[role]}" for role in (Role.GRADIENT, Role.TRANSIENT))
"""The meanings of two roles. The names of the other roles say what they mean."""

_FEW = 3
"""At most this many transient arrays are named."""


def accounts(explanation: Explanation) -> list[tuple[Mode, Account]]:
    """The prediction of training, then the prediction of inference."""
    return [(Mode.TRAIN, explanation.train), (Mode.INFER, explanation.infer)]


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def summary(explanation: Explanation) -> list[str]:
    """Sentences on the kept values, the peaks of both modes, and the FLOPs that storing saves."""
    train, infer = (account.peak.total_bytes for _, account in accounts(explanation))
    sentences = [
        _kept(explanation),
        f"Training needs {format_bytes(train)} at its peak, inference {format_bytes(infer)}: "
        f"the ratio is {train / infer:.2f}.",
    ]
    work = explanation.recomputation
    if work.extra_flops:
        sentences.append(
            "If forward stored nothing, each gradient would recompute its inputs from x: "
            f"{format_flops(work.extra_flops)} more, {format_count(work.multiple)} × the forward pass."
        )
    return [*sentences, *statistics_sentences([explanation.cell])]


def _kept(explanation: Explanation) -> str:
    names = folded_names(explanation.retained)
    if not names:
        return "Forward keeps nothing for backward."
    total = sum(entry.bytes for entry in explanation.retained)
    at_once = sum(node.nbytes for node in explanation.train.liveness.most_retained)
    size = format_bytes(total)
    if at_once < total:
        size += f" in all, at most {format_bytes(at_once)} at a time"
    one = len(explanation.retained) == 1
    sentence = f"Forward keeps {listed(names)} ({size}) because backward reads {'it' if one else 'them'}."
    again = folded_names(sorted(explanation.recomputed, key=in_order))
    if again:
        sentence += f" Backward also reads {listed(again)}, which the plan computes again."
    return sentence


def peak_sentence(account: Account) -> str:
    """The step of the peak, its bytes, and the second-highest step."""
    peak, last = account.peak, account.timeline[-1].step
    step = f"step {peak.step} (of 0–{last})" if last else "the only step"
    words = f"Peak: {step}, at {peak.node}: {format_bytes(peak.total_bytes)}."
    return f"{words} {_second_highest(account)}".rstrip()


def live_sentence(account: Account) -> str:
    """The bytes of each role at the peak, the largest first; transient arrays by name if they are few."""
    peak = account.peak
    roles = sorted(((count, role) for role, count in peak.live_bytes.items() if count), reverse=True)
    found = [f"{role} {format_bytes(count)}" for count, role in roles]
    standing = account.liveness.standing(peak.step)
    names = [life.node.name for life in standing if life.role is Role.TRANSIENT and life.node.shape]
    if 0 < len(names) <= _FEW:
        index = [role for _, role in roles].index(Role.TRANSIENT)
        found[index] += f" ({', '.join(names)})"
    return f"Live at the peak: {', '.join(found)}."


def _second_highest(account: Account) -> str:
    second = account.runner_up
    if second is None:
        return ""
    where = second.moment
    if not second.margin_bytes:
        return f"Step {where.step}, at {where.node}, is as high."
    return (
        f"Second-highest: step {where.step}, {where.total_bytes:,} B. Saving more than "
        f"{_exact(second.margin_bytes)} at step {account.peak.step} makes step {where.step} the peak."
    )


def _exact(count: int) -> str:
    """A number of bytes in a binary unit if this is exact, else in bytes."""
    words, (divisor, _) = format_bytes(count), binary_unit(count)
    return words if float(words.split()[0]) * divisor == count else f"{count:,} B"


def footprints(explanation: Explanation, rows: Mapping[Mode, Row]) -> Iterator[Section]:
    """The footprint at the peak of each mode in symbols, beside the ledger if it was measured."""
    words = [f"{part}." for part in (_sizes(explanation), *MEANINGS)]
    yield Section("The footprint at the peak", sentences=words)
    for mode, account in accounts(explanation):
        yield _footprint(mode, account.footprint, rows.get(mode))


def _sizes(explanation: Explanation) -> str:
    """``n = 64 examples, d = 64 inputs, …``."""
    cell = explanation.cell
    words = SYMBOL_WORDS | {DEPTH: cell.network.block_word}
    if cell.network.class_count:
        words["q"] = "class"
    sizes = [*symbols(explanation.train.schedule.graph).items(), (DEPTH, cell["depth"])]
    return ", ".join(f"{name} = {_counted(size, words[name.rstrip('0123456789')])}" for name, size in sizes)


def _counted(count: int, word: str) -> str:
    plural = f"{word}es" if word.endswith("s") else f"{word}s"
    return f"{count:,} {word if count == 1 else plural}"


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
    count = 4 if any(line[3] for line in lines) else 3  # the last column is about the run
    return Section("", heads[:count], [line[:count] for line in lines], frozenset({0, 1}), text=1)


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def measured_sentences(rows: Mapping[Mode, Row]) -> list[str]:
    """How the measured peaks compare with the predicted ones; empty if nothing was measured."""
    if not rows:
        return []
    failed = [
        f"The measured run of {mode.noun} failed ({row['status']}): {row['reason']}."
        for mode, row in rows.items()
        if not row.ok
    ]
    return failed or [_compared(list(rows.values()))]


def _compared(rows: Collection[Row]) -> str:
    off = [abs(row["ledger_peak_bytes"] - row["predicted_peak_bytes"]) for row in rows]
    above = [found for row in rows if (found := row.difference_bytes("heap")) is not None]
    ledger = f"is up to {max(off):,} B off the prediction" if any(off) else "equals the prediction"
    heap = f", and the heap (memray) is within {format_bytes(max(map(abs, above)))} of it" if above else ""
    return f"Measured: the ledger {ledger}{heap}."
