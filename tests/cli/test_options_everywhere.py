"""Options mean the same in every command that has them; other commands refuse them with a reason."""

from __future__ import annotations

import tomllib

import pytest
from command_line import called, refused, strict_json
from typer.main import get_command

from memtrain.cells.columns import CELL_COLUMNS
from memtrain.cells.not_here import NOT_HERE
from memtrain.cli.app import app
from memtrain.cli.groups import CELL_GROUPS

COMMANDS = get_command(app).commands
OF_CELLS = ["explain", "sweep", "frontier", "plan", "train"]
WITH_CONFIG = [*OF_CELLS, "predict", "report", "compare"]
CELL_OPTIONS = {column.option for column in CELL_COLUMNS} | {"--layers"}
TINY = ("--width", "8", "--depth", "1", "--batch", "4")


def flags_of(name):
    """The long options of a command, in the order of its parameters."""
    return [
        flag
        for one in COMMANDS[name].params
        if one.param_type_name == "option"
        for flag in (*one.opts, *one.secondary_opts)
        if flag.startswith("--")
    ]


def test_every_column_of_a_cell_has_a_group():
    grouped = [name for names in CELL_GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(["layers", *(column.name for column in CELL_COLUMNS)])


@pytest.mark.parametrize("name", OF_CELLS)
def test_a_command_has_every_option_of_a_cell_or_a_reason(name):
    own = set(flags_of(name))
    assert set(NOT_HERE[name]) & own == set()
    assert own | set(NOT_HERE[name]) >= CELL_OPTIONS
    for option, reason in NOT_HERE[name].items():
        assert reason, option
        assert not reason.endswith(".")


def test_the_options_of_a_cell_stand_in_one_order():
    first = [flag for flag in flags_of("sweep") if flag in CELL_OPTIONS - {"--memory"}]
    for name in OF_CELLS:
        own = [flag for flag in flags_of(name) if flag in CELL_OPTIONS - {"--memory"}]
        assert own == [flag for flag in first if flag in own]


def test_a_reason_is_kept_only_for_options_of_other_commands():
    all_of_them = {flag for name in COMMANDS for flag in flags_of(name)}
    for name, reasons in NOT_HERE.items():
        assert set(reasons) <= all_of_them, name


def test_every_command_that_answers_can_be_quiet_and_verbose_means_one_thing():
    for name in COMMANDS:
        options = {flag: one for one in COMMANDS[name].params for flag in one.opts}
        assert ("--quiet" in options) is (name != "help")
        if name != "help":
            assert options["-q"] is options["--quiet"]
            assert options["--quiet"].help == "Print results and errors only"


def test_a_quiet_command_says_nothing_on_stderr(tmp_path):
    for line in (
        ("explain", *TINY),
        ("train", *TINY, "--epochs", "1"),
        ("sweep", *TINY, "--meters", "ledger", "--export-csv", "a.csv"),
    ):
        said = called(*line, "-q", cwd=tmp_path)
        assert (said.code, said.err) == (0, ""), line
    said = called("compare", "a.csv", "a.csv", "--fail-over", "5%", "-q", cwd=tmp_path)
    assert (said.code, said.err) == (0, "")


@pytest.mark.parametrize("option", ["--memory", "--memory-limit"])
def test_the_limit_of_a_sweep_is_called_memory_and_its_former_name_still_works(option, tmp_path):
    said = called("sweep", *TINY, option, "1MiB,2MiB", "--dry-run", "--json", cwd=tmp_path)
    document = strict_json(said.out)
    assert [row["memory_limit_bytes"] for row in document["rows"]] == [2**20, 2**20, 2**21, 2**21]
    assert document["config"]["memory"] == "1MiB,2MiB"
    assert "--memory-limit" not in called("sweep", "--help", cwd=tmp_path).out


@pytest.mark.parametrize("key", ["memory", "memory_limit", "memory-limit"])
def test_a_file_may_use_the_former_name_too(key, tmp_path):
    (tmp_path / "s.toml").write_text(f"{key} = '3MiB'\n")
    said = called("sweep", "--config", "s.toml", "--print-config", cwd=tmp_path)
    assert tomllib.loads(said.out)["memory"] == "3MiB"
    (tmp_path / "s.toml").write_text(f"memory = '3MiB'\n{key.replace('y-', 'y_')}  = 4\n")
    refused("sweep", "--config", "s.toml", cwd=tmp_path)


def test_a_sweep_under_a_limit_is_resumed_by_the_limit_of_its_file(tmp_path):
    line = ("sweep", *TINY, "--memory", "20KiB", "--meters", "ledger", "--export-csv", "a.csv")
    first = called(*line, cwd=tmp_path)
    again = called("sweep", "--resume", "a.csv", "--json", cwd=tmp_path)
    assert {row["memory_limit_bytes"] for row in strict_json(again.out)["rows"]} == {20 * 1024}
    assert first.code == again.code
    assert "--memory" in refused("sweep", "--resume", "a.csv", "--memory", "1MiB", cwd=tmp_path)


ARGUMENTS = {"predict": ("m.npz",), "report": ("a.csv",), "compare": ("a.csv", "b.csv")}
"""The arguments that each command requires. The files are not read when options are printed."""


@pytest.mark.parametrize("name", WITH_CONFIG)
def test_options_are_read_from_a_file_and_printed_again(name, tmp_path):
    given = {"width": "24", "seed": "7"} if name in OF_CELLS else {"export_csv": "x.csv"}
    given |= {"memory": "5MiB"} if name == "frontier" else {}
    (tmp_path / "s.toml").write_text("".join(f"{key} = '{value}'\n" for key, value in given.items()))
    line = (name, *ARGUMENTS.get(name, ()), "--config", "s.toml", "--print-config")
    said = called(*line, cwd=tmp_path)
    assert said.code == 0, said.err
    printed = tomllib.loads(said.out)
    assert {key: str(printed[key]) for key in given} == given
    assert not {"config", "print_config", "model.npz", "results", "before", "data_file"} & set(printed)
    (tmp_path / "s.toml").write_text(said.out)
    again = tomllib.loads(called(*line, cwd=tmp_path).out)
    assert {key: str(value) for key, value in again.items()} == {k: str(v) for k, v in printed.items()}
    (tmp_path / "s.toml").write_text("no_such = 1\n")
    assert "no_such" in refused(*line[:-1], cwd=tmp_path)


@pytest.mark.parametrize("name", ["explain", "plan", "frontier", "train"])
def test_the_file_of_options_is_never_overwritten(name, tmp_path):
    (tmp_path / "s.toml").write_text("width = 8\n")
    needed = ("--memory", "1MiB") if name in ("plan", "frontier") else ()
    line = (name, *needed, "--config", "s.toml", "--export-json", "s.toml", "--force")
    assert "is an input and the output of" in refused(*line, cwd=tmp_path)


def test_a_file_gives_the_cell_of_a_command(tmp_path):
    (tmp_path / "s.toml").write_text("width = 8\ndepth = 3\nbatch = 5\nmeasure = false\n")
    said = called("explain", "--config", "s.toml", "--depth", "2", "--json", cwd=tmp_path)
    cell = strict_json(said.out)["cell"]
    assert (cell["width"], cell["depth"], cell["batch"]) == (8, 2, 5)
