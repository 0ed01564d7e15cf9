"""The table of columns: it agrees with the rooms, and all options of a cell come from it."""

from __future__ import annotations

import pytest
from typer.main import get_command

from memtrain.cells.cell import _CHOICES, Mode, cell_of
from memtrain.cells.columns import BY_NAME, CELL_NAMES, COLUMNS, FIGURE_NAMES, NAMES, Part
from memtrain.cli.app import app
from memtrain.graph.ops import ACTIVATIONS
from memtrain.models.families import FAMILIES, columns_of
from memtrain.models.network import DTYPES


def test_no_column_stands_twice():
    assert len(set(NAMES)) == len(COLUMNS)
    assert set(CELL_NAMES) | set(FIGURE_NAMES) | {"mode"} == set(NAMES)


def test_the_choices_are_those_of_the_rooms():
    known = {**_CHOICES, "activation": ACTIVATIONS, "dtype": DTYPES, "model": FAMILIES}
    for name, choices in known.items():
        assert sorted(BY_NAME[name].choices) == sorted(choices), name


def test_defaults_are_those_of_the_cell():
    cell = cell_of()
    assert {name: cell[name] for name in CELL_NAMES} == {name: BY_NAME[name].default for name in CELL_NAMES}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_columns_of_a_family_are_in_the_table(family):
    unknown = set(columns_of(family)) - {column.name for column in COLUMNS if column.part is Part.NETWORK}
    assert unknown <= {"loss"}  # only in the Python interface


def test_a_column_has_a_value_of_its_kind_in_every_cell():
    for name, value in cell_of(width=(3, 4), depth=2, memory_limit_bytes=5).values().items():
        BY_NAME[name].kind.check(value)


def test_a_value_of_another_kind_is_refused():
    for name, value in (("depth", True), ("depth", "3"), ("bias", 1), ("policy", 3), ("l2", "x")):
        with pytest.raises(TypeError):
            BY_NAME[name].kind.check(value)


@pytest.mark.parametrize("command", ["sweep", "explain", "plan", "frontier", "train"])
def test_the_options_of_a_cell_are_worded_by_the_table(command):
    options = {option.name: option for option in get_command(app).commands[command].params}
    own = [BY_NAME[name] for name in CELL_NAMES if BY_NAME[name].parameter in options]
    if command in ("plan", "frontier"):
        own.remove(BY_NAME["memory_limit_bytes"])  # the --memory of these commands is no column
    assert len(own) >= 10
    for column in own:
        assert options[column.parameter].help.startswith(column.about), column.name


def test_two_cells_have_one_key_only_if_they_are_the_same():
    cells = [cell_of(), cell_of(depth=2), cell_of(l2=0.0), cell_of(width=(256,)), cell_of(data="a.csv")]
    assert len({cell.key(mode) for cell in cells for mode in Mode}) == len(Mode) * len(cells)
