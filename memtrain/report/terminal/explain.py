"""`memtrain explain` for a terminal: one screen on the kept values, or all parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from memtrain.cells.cell import Mode
from memtrain.explaining.evidence import Explained
from memtrain.explaining.explanation import Account, Explanation
from memtrain.explaining.folding import of_parameters
from memtrain.explaining.timeline import Moment, Stretch, stretches
from memtrain.graph.node import Role
from memtrain.report.explained import evidence_sections
from memtrain.report.kept import kept_in_short, reason_sections, recomputed_sections
from memtrain.report.peaks import (
    accounts,
    footprints,
    live_sentence,
    measured_sentences,
    peak_sentence,
    summary,
)
from memtrain.report.terminal.table import fitted, screen

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
"""A letter for each role, for a terminal that has only ASCII."""

_MEANINGS = "gradient: of a parameter, held for the update; transient: of one phase only"
_MORE = "`--full` shows the graph, the gradients, what is not kept, and the footprint."

_ROWS, _SHORT_ROWS = (28, 28), (10, 2)
"""The most lines of the timelines of training and of inference: with all parts, and on one screen."""

_LONGEST_NAME, _LONGEST_NARROW = 16, 8
_NARROW = 60
"""Narrower terminals have no room for the phases of a timeline."""

_PEAK = " ◄ peak"


def explained_screen(explained: Explained, width: int, ascii_only: bool) -> Iterator[RenderableType]:
    """One screen and the parts that were asked for, or all parts."""
    explanation = explained.explanation
    yield Text("\n".join([*summary(explanation), *measured_sentences(explained.rows)]))
    if explained.full:
        yield from screen(reason_sections(explanation), width)
        yield _timelines(explanation, width, ascii_only, _ROWS)
        yield from screen(footprints(explanation, explained.rows), width)
    else:
        yield _timelines(explanation, width, ascii_only, _SHORT_ROWS)
        yield fitted(kept_in_short(explanation.retained), width)
        yield from screen(recomputed_sections(explanation), width)
    yield from screen(evidence_sections(explained), width)
    if not explained.full:
        yield Text(_MORE)


def _timelines(
    explanation: Explanation, width: int, ascii_only: bool, most: tuple[int, int]
) -> RenderableType:
    """The live bytes of training, then of inference, on one scale."""
    brief = most is _SHORT_ROWS
    found = [
        (mode, account, stretches(account.timeline, rows, of_parameters(account.schedule.graph)))
        for (mode, account), rows in zip(accounts(explanation), most, strict=True)
    ]
    marks = _ASCII if ascii_only else {role: mark for role, (mark, _) in _STYLES.items()}
    drawing = _Drawing([line for _, _, lines in found for line in lines], width, marks)
    parts: list[RenderableType] = [drawing.legend()]
    for mode, account, lines in found:
        count = len(account.timeline)
        words = f"{mode.noun.capitalize()}: {count} step{'' if count == 1 else 's'}"
        if len(lines) < count:
            words += f" in {len(lines)} lines; each line shows the highest of some steps"
        parts += [Text(words, style="bold"), drawing.bars(account, lines)]
        sentences = [peak_sentence(account)]
        if not brief or mode is Mode.TRAIN:
            sentences.append(live_sentence(account))
        parts.append(Text(" ".join(sentences)))
    return Group(*parts)


class _Drawing:
    """Draws the lines of timelines on one scale."""

    def __init__(self, lines: Sequence[Stretch], width: int, marks: Mapping[Role, str]) -> None:
        self._marks = marks
        self._most_bytes = max(line.highest.total_bytes for line in lines)
        self._roles = [role for role in _STYLES if any(line.highest.live_bytes[role] for line in lines)]
        self._steps = max(len(str(line.highest.step)) for line in lines)
        self._phases = width >= _NARROW
        longest = _LONGEST_NAME if self._phases else _LONGEST_NARROW
        self._names = min(max(len(line.name) for line in lines), longest)
        self._room = max(10, width - len(self._head(lines[0])) - len(_PEAK))

    def legend(self) -> Text:
        """What each mark means."""
        words = [(f"{self._marks[role]}={role} ", _STYLES[role][1]) for role in self._roles]
        legend = Text.assemble(*words)
        legend.rstrip()
        return legend.append(f"\n{_MEANINGS}")

    def bars(self, account: Account, lines: Sequence[Stretch]) -> Text:
        """A line for each stretch; the peak is marked."""
        drawn = Text()
        for line in lines:
            drawn.append(self._head(line))
            drawn.append(self._bar(line.highest))
            drawn.append(f"{_PEAK if line.highest is account.peak else ''}\n", style="bold")
        drawn.rstrip()
        return drawn

    def _head(self, line: Stretch) -> str:
        """Step, phase and name."""
        name = line.name if len(line.name) <= self._names else f"{line.name[: self._names - 1]}…"
        phase = f"{line.highest.phase:<9} " if self._phases else ""
        return f"{line.highest.step:>{self._steps}} {phase}{name:<{self._names}} "

    def _bar(self, moment: Moment) -> Text:
        bar, done, drawn = Text(), 0, 0
        for role, (_, colour) in _STYLES.items():
            done += moment.live_bytes[role]
            end = round(self._room * done / self._most_bytes) if self._most_bytes else 0
            bar.append(self._marks[role] * (end - drawn), style=colour)
            drawn = end
        return bar
