"""`memtrain explain` for a terminal: graph, gradients, what is kept and why, timelines, footprint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from memtrain.explaining.evidence import Explained
from memtrain.explaining.explanation import Account, Explanation
from memtrain.explaining.timeline import Moment
from memtrain.graph.node import Role
from memtrain.report.explained import accounts, footprints, peak_words, reasons
from memtrain.report.proofs import proof_section, second_sections
from memtrain.report.terminal.section import section_screen, sections_screen

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


def explained_screen(explained: Explained, width: int, ascii_only: bool) -> Iterator[RenderableType]:
    """The parts of an explanation, in order."""
    explanation = explained.explanation
    yield from sections_screen(reasons(explanation))
    yield _timelines(explanation, width, ascii_only)
    yield from sections_screen(footprints(explanation, explained.rows))
    if explained.proof is not None:
        yield section_screen(proof_section(explained.proof))
    if explained.second is not None:
        yield from sections_screen(second_sections(explained.second))


def _timelines(explanation: Explanation, width: int, ascii_only: bool) -> RenderableType:
    moments = [moment for _, account in accounts(explanation) for moment in account.timeline]
    highest = max(account.peak.total_bytes for _, account in accounts(explanation))  # one scale for both
    names = min(max(len(moment.node) for moment in moments), _MOST_NAME)
    room = max(10, width - names - 27)
    marks = _ASCII if ascii_only else {role: mark for role, (mark, _) in _STYLES.items()}
    shown = [role for role in _STYLES if any(moment.live_bytes[role] for moment in moments)]
    legend = Text.assemble(
        "Live bytes by step: ", *((f"{marks[role]}={role} ", _STYLES[role][1]) for role in shown)
    )
    parts: list[RenderableType] = [legend]
    for mode, account in accounts(explanation):
        count = len(account.timeline)
        words = f"{mode.noun}, {count} step{'' if count == 1 else 's'}"
        if count > _MOST_ROWS:
            words += ", the highest of each stretch"
        parts.append(Text(words, style="bold"))
        parts.append(_bars(account, highest, names, room, marks))
        parts.append(Text(peak_words(account)))
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
