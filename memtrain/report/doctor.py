"""The check of a machine as plain data."""

from __future__ import annotations

from memtrain.cells.kinds import csv_line
from memtrain.measure.doctor import Examination
from memtrain.report.json_text import json_text
from memtrain.report.section import Origin, Section

COLUMNS = ("subject", "state", "found", "remedy")
SCHEMA_VERSION = 1


def examination_csv(examination: Examination) -> str:
    """A row per finding."""
    return "".join(map(csv_line, [COLUMNS, *_lines(examination)]))


def examination_document(examination: Examination, origin: Origin) -> str:
    """The findings as JSON text."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "command": origin.command,
        "ok": examination.ok,
        "findings": list(examination.findings),
    }
    return json_text(document)


def examination_sections(examination: Examination) -> list[Section]:
    """The table of the findings."""
    return [Section("This machine", COLUMNS, _lines(examination), frozenset(range(len(COLUMNS))))]


def _lines(examination: Examination) -> list[list[str]]:
    return [[str(getattr(finding, name)) for name in COLUMNS] for finding in examination.findings]
