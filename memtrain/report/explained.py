"""An explanation as CSV, and as the sections that markdown and pages are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from memtrain.cells.kinds import csv_line
from memtrain.explaining.evidence import Explained
from memtrain.explaining.reasons import Reader, Recomputed, Retained
from memtrain.report.kept import reason_sections
from memtrain.report.peaks import (
    accounts,
    footprints,
    live_sentence,
    measured_sentences,
    peak_sentence,
    summary,
)
from memtrain.report.proofs import proof_section, second_sections
from memtrain.report.section import Section

CSV_COLUMNS = (
    *("name", "fate", "shape", "dtype", "bytes", "formula", "made_by"),
    *("born_step", "freed_step", "computed_steps", "read_by", "reason"),
)
"""The columns of the CSV. A field that does not apply is empty. ``shape`` is the shape of the array."""


def explained_csv(explained: Explained) -> str:
    """A line per intermediate: whether it is retained, recomputed or dropped, and why."""
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
    shape = "×".join(map(str, entry.shape))
    return entry.name, fate, shape, entry.dtype, entry.bytes, entry.formula, entry.producer


def _read_by(readers: Iterable[Reader]) -> str:
    return "; ".join(map(str, readers))


def explained_sections(explained: Explained) -> Iterator[Section]:
    """All parts of an explanation except the timelines."""
    explanation = explained.explanation
    yield Section(sentences=[*summary(explanation), *measured_sentences(explained.rows)])
    yield from reason_sections(explanation)
    for mode, account in accounts(explanation):
        yield Section(f"The peak of {mode.noun}", sentences=[peak_sentence(account), live_sentence(account)])
    yield from footprints(explanation, explained.rows)
    yield from evidence_sections(explained)


def evidence_sections(explained: Explained) -> Iterator[Section]:
    """The proof and the second order, if they were asked for."""
    if explained.proof is not None:
        yield proof_section(explained.proof)
    if explained.second is not None:
        yield from second_sections(explained.second)
