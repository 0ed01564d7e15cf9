"""What would make a cell fit, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memtrain.answers.option import Kind, Option, Ways, command_of
from memtrain.planning.remat.policy import NONE
from memtrain.report.terminal.sweep import plain_table
from memtrain.report.ways import fates, shown
from memtrain.report.ways_findings import advice, ways_sentences
from memtrain.units import format_bytes

_HEADS = (
    "option",
    "peak\nMiB",
    "ledger\n±B",
    "heap\n±B",
    "time,\npred.",
    "time,\nmeas.",
    "gradients\nequal?",
    "stages re-\ncomputed",
    "smallest\nplan MiB",
)
_OF_PLANS, _OF_LEVERS = (0, 1, 2, 3, 4, 5, 6, 7), (0, 1, 2, 3, 4, 5, 6, 8)
"""Which of these columns there is room for."""

_HEIGHT = 14
_MARKS = {Kind.POINT: "●", Kind.RULE: "", Kind.CHOSEN: "◆", Kind.KEEP_ALL: "■", Kind.LEVER: "▲"}
"""A rule is marked by a letter of its own."""
_ASCII_MARKS = {Kind.POINT: "*", Kind.RULE: "", Kind.CHOSEN: "#", Kind.KEEP_ALL: "K", Kind.LEVER: "^"}


def ways_screen(ways: Ways, width: int, ascii_only: bool) -> Iterator[RenderableType]:
    """The answer, the plan, every option, the picture of the trade-off, and the commands."""
    sentences = ways_sentences(ways)
    yield Text(sentences[0])
    if ways.chosen is not None and ways.chosen.cell.policy != NONE:
        yield _plan(ways.chosen)
    if ways.points:
        titles = "Plans, from the smallest to the one that keeps all"
        yield _options(titles, [*ways.points, *ways.rules], _OF_PLANS)
        yield _picture(ways, width, ascii_only)
    yield _options("Ways to hold less", [*_bases(ways), *ways.levers, *_smaller(ways)], _OF_LEVERS)
    yield from _commands(ways)
    if sentences[1:]:
        yield Text("\n".join(sentences[1:]))


def _bases(ways: Ways) -> list[Option]:
    """Keep-all, and the plan that was chosen."""
    chosen = [ways.chosen] if ways.chosen is not None and ways.chosen.kind is Kind.CHOSEN else []
    return [ways.keep_all, *chosen]


def _smaller(ways: Ways) -> list[Option]:
    return [] if ways.smaller is None else [ways.smaller]


def _plan(chosen: Option) -> Table:
    table = plain_table("What backward reads of forward, under the plan")
    table.add_column("fate", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("values")
    for fate, names, nbytes in fates(chosen):
        table.add_row(fate, format_bytes(nbytes), names)
    return table


def _options(title: str, options: Sequence[Option], columns: Sequence[int]) -> Table:
    table = plain_table(title)
    for column in columns:
        table.add_column(_HEADS[column], justify="right" if column else "left", no_wrap=column > 0)
    above = ""
    for option in options:
        cells = shown(option)
        if option.name == f"{above}, {option.cell.policy}":
            cells[0] = f"  + {option.cell.policy}"
        above = option.name
        table.add_row(*(cells[column] for column in columns), style=None if option.ok else "red")
    return table


def _picture(ways: Ways, width: int, ascii_only: bool) -> RenderableType:
    """Peak against time: predicted, and where it was measured as measured."""
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
    scale = f"{'':>11}+0 %{f'+{100 * most_extra:.0f} % time':>{columns - 3}}"
    legend = f"{marks[Kind.POINT]} cheapest for its budget  {marks[Kind.KEEP_ALL]} no recomputation"
    if ways.chosen is not None and ways.chosen.kind is Kind.CHOSEN:
        legend += f"  {marks[Kind.CHOSEN]} the plan for {format_bytes(ways.memory_bytes)}"
    legend += "".join(f"  {letter} {name}" for name, letter in letters.items())
    measured = all(option.measured_extra is not None for option in options)
    title = f"Peak against time, as {'measured' if measured else 'predicted'}"
    return Group(Text(title, style="bold"), Text("\n".join([*lines, axis, scale])), Text(legend))


def _extra(option: Option) -> float:
    return option.predicted_extra if option.measured_extra is None else option.measured_extra


def _commands(ways: Ways) -> Iterator[RenderableType]:
    """The command of the answer, and those of the others."""
    todo = advice(ways)
    if todo is not None:
        yield _command_list("Do this", [todo])
    others = [command_of(option.cell) for option in (*_bases(ways)[1:], *ways.levers, *_smaller(ways))]
    title = "Commands" if todo is None else "Other commands"
    yield _command_list(title, [command for command in others if command != todo])


def _command_list(title: str, commands: Sequence[str]) -> RenderableType:
    lines = "\n".join(f"  {command}" for command in commands)
    return Group(Text(title, style="bold"), Text(lines, overflow="fold"))
