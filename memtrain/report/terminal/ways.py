"""Ways to make a cell fit into a memory, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.text import Text

from memtrain.answers.option import Kind, Option, Ways, command_of
from memtrain.cells.cell import SECONDS
from memtrain.planning.remat.policy import NONE
from memtrain.report.section import Section
from memtrain.report.terminal.table import FIXED, command_lines, fitted, prose
from memtrain.report.ways import HEADS, OF_LEVERS, OF_PLANS, fates, options_section
from memtrain.report.ways_findings import advice, answer_sentences, note_sentences
from memtrain.units import format_bytes

_WIDE = 120
"""From this many characters on, the tables have all columns."""

_HEIGHT = 14
_MARKS = {Kind.POINT: "●", Kind.RULE: "", Kind.CHOSEN: "◆", Kind.KEEP_ALL: "■", Kind.LEVER: "▲"}
"""The mark of each kind of option. Each rule has a letter of its own instead."""
_ASCII_MARKS = {Kind.POINT: "*", Kind.RULE: "", Kind.CHOSEN: "#", Kind.KEEP_ALL: "K", Kind.LEVER: "^"}


TOO_LARGE = "*"
"""The mark of an option that does not fit into the memory."""


def ways_screen(ways: Ways, width: int, ascii_only: bool) -> Iterator[RenderableType]:
    """The answer, the plan, the options, the picture of the trade-off, the commands, and the notes."""
    yield prose(answer_sentences(ways), width)
    if ways.chosen is not None and ways.chosen.cell.policy != NONE:
        yield fitted(_plan(ways.chosen), width)
    everything = range(len(HEADS))
    if ways.points:
        title = "Plans, from the smallest to the one that keeps all"
        plans = [*ways.points, *ways.rules]
        yield fitted(options_section(title, plans, everything if width >= _WIDE else OF_PLANS), width)
    if len(ways.points) > 1:
        yield _picture(ways, width, ascii_only)
    yield fitted(_levers(ways, everything if width >= _WIDE else OF_LEVERS), width)
    yield from _commands(ways, width)
    notes = note_sentences(ways)
    if notes:
        yield prose(notes, width)


def _bases(ways: Ways) -> list[Option]:
    """Keep-all and, if a plan was chosen, this plan."""
    chosen = [ways.chosen] if ways.chosen is not None and ways.chosen.kind is Kind.CHOSEN else []
    return [ways.keep_all, *chosen]


def _smaller(ways: Ways) -> list[Option]:
    return [] if ways.smaller is None else [ways.smaller]


def _plan(chosen: Option) -> Section:
    lines = [(fate, format_bytes(nbytes), names) for fate, names, nbytes in fates(chosen)]
    title = "The values that backward reads, under the plan"
    return Section(title, ("fate", "bytes", "values"), lines, words=frozenset({0, 2}), names=2)


def _levers(ways: Ways, columns: Sequence[int]) -> Section:
    """The ways to hold less. A lever with a plan stands below the lever alone, as ``+ budget:…``."""
    options = [*_bases(ways), *ways.levers, *_smaller(ways)]
    memory, title = ways.memory_bytes, "Ways to hold less"
    over = [memory is not None and option.predicted_peak_bytes > memory for option in options]
    if any(over):
        title += f" ({TOO_LARGE} does not fit into {format_bytes(memory)})"
    section = options_section(title, options, columns)
    above = ["", *(option.name for option in options)]
    lines = []
    for name, option, line, large in zip(above, options, section.lines, over, strict=False):
        below = option.name == f"{name}, {option.cell.policy}"
        shown = f"  + {option.cell.policy}" if below else line[0]
        lines.append([f"{shown} {TOO_LARGE}" if large else shown, *line[1:]])
    return replace(section, lines=lines)


def _picture(ways: Ways, width: int, ascii_only: bool) -> RenderableType:
    """Peak against extra time or FLOPs: measured, or predicted for options that were not measured."""
    marks = _ASCII_MARKS if ascii_only else _MARKS
    options = [*ways.points, *ways.rules, *_bases(ways)]
    letters = {option.name: chr(ord("a") + index) for index, option in enumerate(ways.rules)}
    extras = [_extra(option) for option in options]
    peaks: list[float] = [option.predicted_peak_bytes for option in options]
    columns = max(20, min(width, 100) - 14)
    most_extra, least_peak, most_peak = max(*extras, 0.01), min(peaks), max(peaks)
    canvas = [[" "] * (columns + 1) for _ in range(_HEIGHT)]
    for option, extra, peak in zip(options, extras, peaks, strict=True):
        x = round(columns * max(extra, 0) / most_extra)
        y = round((_HEIGHT - 1) * (most_peak - peak) / max(most_peak - least_peak, 1))
        canvas[y][x] = letters.get(option.name) or marks[option.kind]
    lines = []
    for y, line in enumerate(canvas):
        peak = most_peak - (most_peak - least_peak) * y / (_HEIGHT - 1)
        label = format_bytes(peak) if y in (0, _HEIGHT // 2, _HEIGHT - 1) else ""
        lines.append(f"{label:>9} {'|' if ascii_only else '│'}{''.join(line).rstrip()}")
    rule = ("-" if ascii_only else "─") * (columns + 1)
    axis = f"{'':>9} {'+' if ascii_only else '└'}{rule}"
    measured = all(option.measured_extra is not None for option in options)
    unit = "time" if measured or ways.cell.cost == SECONDS else "FLOPs"
    scale = f"{'':>11}+0 %{f'+{100 * most_extra:.0f} % {unit}':>{columns - 3}}"
    legend = [f"{marks[Kind.POINT]} cheapest plan for its peak", f"{marks[Kind.KEEP_ALL]} no recomputation"]
    if ways.chosen is not None and ways.chosen.kind is Kind.CHOSEN:
        legend.append(f"{marks[Kind.CHOSEN]} the plan for {format_bytes(ways.memory_bytes)}")
    legend += [f"{letter} {name}" for name, letter in letters.items()]
    entries = ", ".join(entry.replace(" ", FIXED) for entry in legend)
    title = f"Peak against extra {unit}, {'measured' if measured else 'predicted'}"
    return Group(Text(title, style="bold"), Text("\n".join([*lines, axis, scale])), prose([entries], width))


def _extra(option: Option) -> float:
    return option.predicted_extra if option.measured_extra is None else option.measured_extra


def _commands(ways: Ways, width: int) -> Iterator[RenderableType]:
    """The command of the answer, and the commands of the other options that fit."""
    todo = advice(ways)
    if todo is not None:
        yield _command_list("Do this", [todo], width)
    options = [*_bases(ways)[1:], *ways.levers, *_smaller(ways)]
    if ways.memory_bytes is not None:
        options = [option for option in options if option.predicted_peak_bytes <= ways.memory_bytes]
    options = [option for option in options if command_of(option.cell) != todo]
    title = "Commands" if todo is None else "Other commands that fit"
    changed = f"Commands that {'' if ways.memory_bytes is None else 'fit, but '}change the training"
    for of_change, heading in ((False, title), (True, changed)):
        listed = [command_of(option.cell) for option in options if bool(ways.changed_by(option)) is of_change]
        if listed:
            yield _command_list(heading, listed, width)


def _command_list(title: str, commands: Sequence[str], width: int) -> RenderableType:
    lines = [line for command in commands for line in command_lines(command, width)]
    return Group(Text(title, style="bold"), Text("\n".join(lines), overflow="fold"))
