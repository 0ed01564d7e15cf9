"""The help texts of memtrain: the purpose of a command, its usage, examples, and options in groups."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from inspect import cleandoc
from textwrap import TextWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from memtrain.cli import completing
from memtrain.cli.groups import GENERAL, GROUPS
from memtrain.cli.options import LONGEST_NAME, OLD_NAMES

NARROWEST, WIDEST = 40, 100
"""The least and the most characters of a line of help."""

_STACKED = 64
"""With fewer characters, the description of an option stands below its name."""

_INDENT = "  "

_LONGEST_NOTE = 34
"""The most characters of a note, such as a default, that stays on one line."""

_RANGES = (
    "A <range> is 8, or 2,4,8, or 1:1024:x2 (each number is twice the one before), or 1:16:+3 (each number "
    "is 3 more)."
)
_LISTS = "A form such as <name,...> is a list, separated by commas."


class Command(TyperCommand):
    """A command whose help shows options in groups."""

    def get_help(self, ctx: Any) -> str:
        """The help text, wrapped to the terminal."""
        return _Help(self, ctx).command()

    def get_short_help_str(self, limit: int = 0) -> str:
        """The first line of the help, never cut."""
        return cleandoc(self.help or "").partition("\n")[0].removesuffix(".")

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The completions of ``incomplete``, without the former names of options."""
        found = super().shell_complete(ctx, incomplete)
        return [item for item in found if item.value not in OLD_NAMES.values()]


class Group(TyperGroup):
    """memtrain itself: its help shows the commands."""

    def get_help(self, ctx: Any) -> str:
        """The help text, wrapped to the terminal."""
        return _Help(self, ctx).group()


class _Help:
    """Writes the help of a command for a terminal."""

    def __init__(self, command: Any, context: Any) -> None:
        self._command, self._context = command, context
        self._width = min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)
        paragraphs = re.split(r"\n{2,}", cleandoc(command.help or ""))
        self._examples = [text for text in paragraphs if text.startswith("Examples:\n")]
        self._prose = [text for text in paragraphs if text not in self._examples]

    def command(self) -> str:
        """The help of a command."""
        arguments = [
            (_argument(one), _description(one))
            for one in self._command.params
            if one.param_type_name == "argument"
        ]
        parts = [*self._about(), self._rows("Arguments", arguments), *self._options(), self._footnotes()]
        return "\n\n".join(filter(None, parts))

    def group(self) -> str:
        """The help of memtrain itself."""
        commands = [
            (name, one.get_short_help_str()) for name, one in self._command.commands.items() if not one.hidden
        ]
        about, usage, *examples = self._about()
        parts = [about, usage, self._rows("Commands", commands), *examples, *self._options()]
        return "\n\n".join([*parts, *map(self._wrapped, cleandoc(self._command.epilog or "").split("\n\n"))])

    def _about(self) -> list[str]:
        """The purpose of the command, its usage, and its examples."""
        prose = [self._wrapped(text) for text in self._prose]
        return [*prose, self._usage(), *map(self._example_lines, self._examples)]

    def _usage(self) -> str:
        words = [self._context.command_path, "[OPTIONS]"]
        for one in self._command.params:
            if one.param_type_name == "argument":
                words.append(_argument(one))
            elif one.required:
                words.append(_name(one))
        if isinstance(self._command, TyperGroup):
            words.append("<command>")
        return self._wrapped(" ".join(words).replace(" <", "\xa0<"), "Usage: ", " " * len("Usage: "))

    def _options(self) -> list[str]:
        """The options, a part for each group."""
        groups: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
        for one in self._command.get_params(self._context):
            if one.param_type_name == "option" and not one.hidden:
                groups[one.rich_help_panel or GENERAL].append((_name(one), _description(one)))
        if not any(rows for group, rows in groups.items() if group != GENERAL):
            return [self._rows("Options", groups[GENERAL])]
        names = [name for rows in groups.values() for name, _ in rows]
        return [self._rows(group, rows, names) for group, rows in groups.items()]

    def _footnotes(self) -> str:
        """Explanations of the forms of values that several options take."""
        words = [str(one.metavar) for one in self._command.params if one.param_type_name == "option"]
        notes = [_RANGES] if "<range>" in words else []
        notes += [_LISTS] if any(re.search(r",\.\.\.", word) for word in words) else []
        return "\n".join(map(self._wrapped, notes))

    def _rows(self, title: str, rows: Sequence[tuple[str, str]], all_names: Sequence[str] = ()) -> str:
        """A titled list of names with their descriptions, which are aligned with those of ``all_names``."""
        if not rows:
            return ""
        beside = [
            len(name) for name in (all_names or [name for name, _ in rows]) if len(name) <= LONGEST_NAME
        ]
        indent = " " * (max(beside, default=0) + 2 * len(_INDENT))
        lines = [f"{title}:"]
        for name, description in rows:
            if self._width < _STACKED:
                lines += [f"{_INDENT}{name}", self._wrapped(description, 3 * _INDENT, 3 * _INDENT)]
                continue
            first = f"{_INDENT}{name}".ljust(len(indent))
            if len(name) > LONGEST_NAME:
                lines.append(first)
                first = indent
            lines.append(self._wrapped(description, first, indent))
        return "\n".join(lines)

    def _example_lines(self, examples: str) -> str:
        """Command lines, each as it can be typed; a long one goes on after a backslash."""
        title, *lines = examples.splitlines()
        shown = [title]
        for line in map(str.strip, lines):
            if len(_INDENT + line) <= self._width:
                shown.append(_INDENT + line)
                continue
            command, _, comment = line.partition("  #")
            if comment:
                shown.append(self._wrapped(f"#{comment}", _INDENT, f"{_INDENT}# "))
            words = re.sub(r"(?<= )(--?\w\S*) (?!-)", "\\1\xa0", command.strip())  # an option and its value
            wrapped = self._wrapped(words, _INDENT, 3 * _INDENT, room=2)
            shown.append(wrapped.replace("\n", " \\\n"))
        return "\n".join(shown)

    def _wrapped(self, text: str, first: str = "", rest: str = "", room: int = 0) -> str:
        wrapper = _Wrapper(
            self._width - room,
            initial_indent=first,
            subsequent_indent=rest,
            break_long_words=False,
            break_on_hyphens=False,
        )
        return wrapper.fill(text).replace("\xa0", " ")


class _Wrapper(TextWrapper):
    """Breaks lines after | in choices, too."""

    def _split(self, text: str) -> list[str]:
        return [part for chunk in super()._split(text) for part in re.split(r"(?<=\|)", chunk)]


def _name(option: Any) -> str:
    """The names of an option, short ones first, with a placeholder for its value."""
    names = [name for name in option.opts if name not in OLD_NAMES.values()]
    shown = ", ".join(sorted(names, key=lambda name: name.startswith("--")))
    if option.secondary_opts:
        shown += f" / {', '.join(option.secondary_opts)}"
    return shown if option.is_flag or not option.metavar else f"{shown} {option.metavar}"


def _argument(argument: Any) -> str:
    """An argument as the usage shows it: in brackets if it can be left out."""
    shown = f"<{argument.name}>" + "..." * (argument.nargs != 1)
    return shown if argument.required else f"[{shown}]"


def _description(parameter: Any) -> str:
    """The description of a parameter, with its default."""
    shown = parameter.show_default
    if shown is True:
        shown = None if parameter.default in (None, False) else str(parameter.default)
    notes = [f"[default: {shown}]"] if shown else []
    notes += ["[required]"] if parameter.required else []
    text = " ".join((parameter.help or "").split()).removesuffix(".")
    return " ".join(
        [text, *(note.replace(" ", "\xa0") if len(note) <= _LONGEST_NOTE else note for note in notes)]
    )


def help_command(
    context: typer.Context,
    command: Annotated[
        str | None, typer.Argument(help="A command of memtrain", autocompletion=completing.command)
    ] = None,
) -> None:
    """Show the help of a command.

    Examples:
      memtrain help
      memtrain help sweep
    """
    from memtrain.errors import unknown_choice

    root: Any = context.find_root()
    if command is None:
        typer.echo(root.get_help())
        return
    if command not in root.command.commands:
        raise unknown_choice("command", command, root.command.commands)
    with root.command.commands[command].make_context(
        command, [], parent=root, resilient_parsing=True
    ) as inner:
        typer.echo(inner.get_help())
