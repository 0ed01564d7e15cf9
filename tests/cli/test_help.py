"""The help texts: complete at every width, with options in groups, and with plain values and defaults."""

from __future__ import annotations

import re

import pytest
from command_line import called, refused
from typer.main import get_command

from memtrain.cells.columns import CELL_COLUMNS
from memtrain.cli.app import app
from memtrain.cli.groups import GROUPS
from memtrain.cli.options import OLD_NAMES

ROOT = get_command(app)
COMMANDS = ROOT.commands
WIDTHS = (40, 63, 64, 80, 160)
IN_ORDER = ["explain", "sweep", "frontier", "plan", "train", "predict", "report", "compare", "doctor", "help"]


@pytest.fixture
def help_of(monkeypatch):
    """A function that gives the help of a command ("" is memtrain itself) for the width of a terminal."""

    def shown(name, width=80):
        monkeypatch.setenv("COLUMNS", str(width))
        with ROOT.make_context("memtrain", [], resilient_parsing=True) as context:
            if not name:
                return context.get_help()
            with COMMANDS[name].make_context(name, [], parent=context, resilient_parsing=True) as inner:
                return inner.get_help()

    return shown


def options_of(name):
    """The options that the help of a command shows."""
    return [one for one in COMMANDS[name].params if one.param_type_name == "option"]


@pytest.mark.parametrize("name", ["", *COMMANDS])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_longer_than_the_terminal_or_ends_with_a_blank(name, width, help_of):
    lines = help_of(name, width).splitlines()
    assert max(map(len, lines)) <= min(width, 100)
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_a_help_says_the_same_at_every_width(name, help_of):
    def words(text):
        parts = re.sub(r"\|\s+", "|", text).replace(" \\\n", " ")
        return sorted(word for word in parts.split() if word != "#")

    first = words(help_of(name, 80))
    for width in WIDTHS:
        assert words(help_of(name, width)) == first


def test_memtrain_lists_its_commands_whole_and_in_order(help_of):
    text = help_of("")
    rows = re.findall(r"^  (\w+) +(.*)$", text.partition("Commands:")[2].partition("\n\n")[0], re.MULTILINE)
    assert [name for name, _ in rows] == IN_ORDER
    for name, short in rows:
        assert COMMANDS[name].help.splitlines()[0] == f"{short}."
        assert len(short) <= 60
    assert "memtrain help <command>" in " ".join(text.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_stands_once_in_a_group(name, help_of):
    text = help_of(name)
    titles = re.findall(r"^(\w+):$", text, re.MULTILINE)
    groups = [title for title in titles if title not in ("Examples", "Arguments", "Options")]
    assert groups == [group for group in GROUPS if group in groups]
    for option in options_of(name):
        shown = [flag for flag in (*option.opts, *option.secondary_opts) if flag not in OLD_NAMES.values()]
        for flag in shown:
            assert len(re.findall(rf"^  (?:-\S+ (?:/ )?)?{flag}(?:[ ,]|$)", text, re.MULTILINE)) == 1, flag
        assert (option.rich_help_panel or "General") in groups


@pytest.mark.parametrize("name", COMMANDS)
def test_types_and_defaults_are_plain(name, help_of):
    text = help_of(name)
    assert not re.search(r"x[<>]=|<(int|str|float|path)|default: \(|\[default: None", text)
    for option in options_of(name):
        assert option.is_flag or option.metavar, option.name
        assert option.help
        assert not option.help.endswith("."), option.name


@pytest.mark.parametrize("name", ["sweep", "explain", "plan", "frontier", "train"])
def test_the_choices_of_an_option_are_shown(name, help_of):
    text = re.sub(r"\|\s+", "|", help_of(name, 40))
    given = {option.name for option in options_of(name)}
    for column in CELL_COLUMNS:
        if column.choices and column.parameter in given:
            assert f"[{'|'.join(column.choices)}]" in text


def test_a_range_is_explained_where_one_is_taken(help_of):
    for name in COMMANDS:
        text = " ".join(help_of(name).split())
        assert ("<range>" in text) is ("1:1024:x2 (each number is twice the one before)" in text)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_can_be_pasted_from_a_narrow_terminal(name, help_of):
    def examples(width):
        text = help_of(name, width).partition("Examples:\n")[2].partition("\n\n")[0]
        return [" ".join(line.split()) for line in text.replace(" \\\n", " ").splitlines()]

    assert examples(40) == examples(80)


def test_help_of_a_command_is_what_the_command_says(tmp_path):
    for name in ("sweep", "help"):
        said = called("help", name, cwd=tmp_path)
        assert (said.code, said.err) == (0, "")
        assert said.out == called(name, "--help", cwd=tmp_path).out == called(name, "-h", cwd=tmp_path).out
    alone = called(cwd=tmp_path).out
    assert alone == called("help", cwd=tmp_path).out == called("--help", cwd=tmp_path).out


def test_help_of_an_unknown_command_names_the_one_that_was_meant(tmp_path):
    assert "did you mean sweep?" in refused("help", "swep", cwd=tmp_path)
