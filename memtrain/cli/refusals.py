"""Messages for a command line that cannot be understood.

typer reports such an error in a sentence of its own. This module writes a sentence that names the mistake and
the remedy, from the parameters of the commands and the words of the command line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from memtrain.cells.not_here import NOT_HERE
from memtrain.errors import nearest, shown

_DASHES = "–—−"
"""Dashes that editors put in place of two hyphens."""


def refusal(error: Exception, commands: Mapping[str, Any], root: Any, words: Sequence[str]) -> str:
    """The message for an error of typer. ``words`` are the command line, ``root`` is memtrain itself."""
    name = next((word for word in words if not word.startswith("-")), "")
    line = _Line(name if name in commands else "", commands.get(name, root), commands, words)
    if hasattr(error, "possibilities"):
        return line.no_option(str(getattr(error, "option_name", "")))
    if hasattr(error, "option_name"):
        return line.value_of(error.option_name)
    if hasattr(error, "param_type"):
        return line.missing(getattr(error, "param", None))
    if hasattr(error, "param"):
        return line.wrong_value(error.param, error)
    if name and name not in commands:
        near = nearest(name, commands)
        remedy = f"did you mean {near}?" if near else f"the commands are {', '.join(commands)}"
        return f"there is no command {shown(name)}; {remedy}"
    extra = re.search(r" \((.*)\)$", str(getattr(error, "message", "")), re.DOTALL)
    return line.too_many(next((word for word in words if extra and extra[1].startswith(word)), ""))


class _Line:
    """A command line that cannot be understood, and the command that it names."""

    def __init__(self, name: str, command: Any, commands: Mapping[str, Any], words: Sequence[str]) -> None:
        self._name, self._command, self._commands, self._words = name, command, commands, words
        self._called = f"`memtrain {name}`" if name else "`memtrain`"
        self._help = f"see `memtrain {f'{name} ' if name else ''}--help`"
        self._options = _options(command)

    def no_option(self, option: str) -> str:
        """The message for an option that the command does not have."""
        if not option.startswith("--"):  # of -depth, only -d is named
            single = [word for word in self._words if re.match(r"-[^-]", word) and option[1:] in word]
            option = single[0].partition("=")[0] if single else option
            if f"-{option}" in self._options:
                return f"{option} needs two dashes; write -{option}"
        mistake = f"{self._called} has no option {shown(option)[1:-1]}"
        if option in NOT_HERE.get(self._name, {}):
            return f"{mistake}; {NOT_HERE[self._name][option]}"
        others = [name for name, command in self._commands.items() if option in _options(command)]
        if others and not self._name:
            return (
                f"{option} is an option of a command; write `memtrain {others[0]} {option} …`, for instance"
            )
        if others:
            named = [f"`{name}`" for name in others]
            listed = " and ".join(filter(None, [", ".join(named[:-1]), named[-1]]))
            return f"{mistake}; {listed} {'have' if len(named) > 1 else 'has'} it"
        near = nearest(f"--{option.lstrip('-')}", self._options)
        return f"{mistake}; {f'did you mean {near}?' if near else self._help}"

    def value_of(self, option: str) -> str:
        """The message for an option without its value, or a switch with a value."""
        parameter = self._options.get(option)
        if not getattr(parameter, "is_flag", False):
            return f"{option} lacks its value; {self._example(option)}"
        both = " or ".join([*getattr(parameter, "opts", ()), *getattr(parameter, "secondary_opts", ())])
        return f"{option} is a switch and takes no value; write {both or option}"

    def missing(self, parameter: Any) -> str:
        """The message for an argument or option that is needed and not given."""
        option = next((name for name, one in self._options.items() if one.name == parameter.name), None)
        needed = option or f"the argument {str(parameter.name).upper()}"
        return f"{self._called} needs {needed}; {self._example(option or '')}"

    def wrong_value(self, parameter: Any, error: Exception) -> str:
        """The message for a value of another type, or out of its range."""
        cause: Any = error.__cause__
        found = cause.errors()[0] if hasattr(cause, "errors") else {}
        given, option = str(found.get("input", "")), str(parameter.opts[0])
        if given in self._options:
            return f"{option} lacks its value; {self._example(option)}"
        own, info = _type_of(parameter), getattr(parameter.type_descriptor, "parameter_info", None)
        noun = {int: "a whole number", float: "a number"}.get(own)
        if noun is None:
            return f"{option} cannot be {shown(given)}; {self._help}"
        lists = _options(self._commands.get("sweep")).get(option)
        if re.search("[,:;]", given) and lists is not None and _type_of(lists) is str:
            return f"{option} takes one number here, not {shown(given)}; `memtrain sweep` takes lists"
        least, most = getattr(info, "min", None), getattr(info, "max", None)
        bounds = "" if least is None else f" ≥ {least}" if most is None else f" from {least} to {most}"
        return f"{option} takes {noun}{bounds}, not {shown(given)}"

    def too_many(self, word: str) -> str:
        """The message for a word that is no option, and no argument that the command takes."""
        before = self._before(word)
        if word[:1] and word[0] in _DASHES:
            return f"{shown(word)} begins with a long dash; write --{word.lstrip(_DASHES + '-')}"
        if getattr(self._options.get(before[-1]), "is_flag", False):
            return self.value_of(before[-1])
        if before[-1] in self._options:  # an option took the next one for its value
            return f"{before[-2] or before[-1]} lacks its value; {self._example(before[-2] or before[-1])}"
        if before[-2] in self._options and before[-1][:1].isdigit():
            joined = self._joined(before[-1], word)
            if joined:
                return f"{before[-2]} has a space in its value; write {before[-2]} {joined}"
        if before[-2] in self._options and before[-1] in self._options:
            return f"{before[-2]} lacks its value; {self._example(before[-2])}"
        if f"--{word}" in self._options:
            return f"{shown(word)} is an option; write --{word}"
        arguments = [one for one in self._command.params if one.param_type_name == "argument"]
        if arguments:
            named = " and ".join(str(one.name).upper() for one in arguments)
            return f"{self._called} takes {named} only, not also {shown(word)}; {self._example()}"
        if re.fullmatch(r"[\d,:x+]+", word) and "--depth" in self._options:
            return f"{self._called} takes options only, not {shown(word)}; write --depth {word}, for instance"
        return f"{self._called} takes options only, not {shown(word)}; {self._help}"

    def _before(self, word: str) -> tuple[str, str]:
        """The two words before ``word``, without the values that follow = in them."""
        index = self._words.index(word) if word in self._words else 0
        return ("", "", *self._words[:index])[-2:]  # type: ignore[return-value]

    @staticmethod
    def _joined(value: str, word: str) -> str:
        """The value that two words mean, a list or bytes written with a space; empty if there is none."""
        if re.fullmatch(r"[KMGT]?i?B|[KMGT]", word, re.IGNORECASE):
            return f"{value}{word}"
        if re.fullmatch(r",?\d[\d,:x+]*", word):
            return f"{value.rstrip(',')},{word.lstrip(',')}"
        return ""

    def _example(self, option: str = "") -> str:
        """An example of the command with ``option``, from its help; without one, a pointer to the help."""
        examples = re.findall(r"^\s*(memtrain .*\S)\s*$", self._command.help or "", re.MULTILINE)
        giving = [line for line in examples if option in line.split()]
        if not (giving or examples) or (option and not giving):
            return self._help
        return f"for instance `{(giving or examples)[0]}`"


def _options(command: Any) -> dict[str, Any]:
    """The options of a command by their names; those that its help hides come last."""
    parameters = [one for one in getattr(command, "params", ()) if one.param_type_name == "option"]
    parameters.sort(key=lambda one: bool(getattr(one, "hidden", False)))
    return {name: one for one in parameters for name in (*one.opts, *one.secondary_opts)}


def _type_of(parameter: Any) -> type:
    """The type of the values of a parameter, such as int, float or str."""
    annotation = parameter.type_descriptor.annotation
    return next((one for one in (annotation, *get_args(annotation)) if one in (int, float, str)), object)
