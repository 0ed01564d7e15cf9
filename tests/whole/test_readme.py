"""The two READMEs: their commands work and print what the text says, and all that they link to exists."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache

import pytest
from command_line import called
from paths import ROOT, SCRIPTS
from readmes import (
    EVIDENCE,
    README,
    commands,
    commands_shown,
    consoles,
    printed,
    shell_lines,
    tables,
)

TEXT, EVIDENCE_TEXT = (path.read_text(encoding="utf-8") for path in (README, EVIDENCE))
CHEAPLY = {
    "sweep": ["--meters", "ledger", "--depth", "1,2", "--batch", "8", "--width", "8"],
    "explain": ["--batch", "16", "--width", "32"],
    "frontier": ["--no-confirm", "--depth", "1"],
    "plan": ["--no-measure"],
    "train": ["--epochs", "1"],
}
"""Options that make a command quick. They are added if the line does not give them."""

FEWER_CASES = {
    "scripts/meters 120 1 --threads 1": "2 1 --threads 1",
    "scripts/laws 200 --seed 31337 --heap 200": "2 --seed 4 --heap 1",
    "scripts/fuzz 6000 40000": "10 40000",
    "scripts/plans": "--help",  # it holds times against bounds, which a test must not do
    "scripts/same ../memtrain-before": "--help",  # half a minute for the least that it compares
    "scripts/bench --rounds 3": "--help",  # another test compares its rows with the text
    "scripts/retained": "",
    "scripts/families --rounds 3": "--help",
}
"""The arguments with which a test runs a long script of the evidence."""

IN_TESTS = {"fuzz": "fuzzing", "retained": "retained", "families": "families_bench"}
"""By script: the module of the tests that it runs."""

SHOWN_CHEAPLY = {"memtrain sweep --memory 8MiB": " --meters ledger || true"}
"""What is added to a command of a table. Some cells of this sweep fail, so that it ends with 1."""

MEASURED = {
    "explain": [r"within [\d.]+ KiB of it"],
    "sweep": [r"[+-][\d.]+", r"[\d.]+ +[█░]+", r"at most [\d.]+ [KM]iB"],  # bars fill the room that is left
    "frontier": [r"up to \d+ KiB"],
    "plan": [r"recomputed \w+ .*", r"\b(more|less)\b", r"\S*\d\S*"],  # the rates of a machine decide the plan
    "train": [r"[\d.]+ m?s\b", r"[\d.]+(?= %| →|\n)"],
}
"""What differs from machine to machine in the output of a command."""


ENGINES = ("memtrain", "torch", "torch.compile", "jax")
"""The engines of the benchmark, in the order of its table."""


COMMANDS_SHOWN = commands_shown(TEXT)
COMMANDS = [line for line in commands(TEXT) if shlex.join(["memtrain", *line]) not in COMMANDS_SHOWN]
"""The other commands. What they print is not shown, so that they run on less, and in this process."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with files under the names that the README uses."""
    place = tmp_path_factory.mktemp("readme")
    assert called("sweep", *CHEAPLY["sweep"], "--export-csv", "results/sweep-1.csv", cwd=place).code == 0
    for name in ("before.csv", "after.csv"):
        shutil.copy(place / "results" / "sweep-1.csv", place / name)
    shutil.copy(ROOT / "results" / "bench.csv", place / "results")  # which is not the CSV of a sweep
    assert called("train", "--epochs", 1, "--save", "model.npz", cwd=place).code == 0
    return place


def cheaper(line):
    """The options that make a command quick and that the line does not give."""
    given = {word for word in line if word.startswith("--")}
    if "--layers" in given:
        given |= {"--depth", "--width"}
    cheaply = CHEAPLY.get(line[0], [])
    if line[0] in ("frontier", "plan"):
        return cheaply
    pairs = zip(cheaply[::2], cheaply[1::2], strict=True)
    return [word for option, value in pairs if option not in given for word in (option, value)]


@pytest.mark.parametrize("line", COMMANDS, ids=" ".join)
def test_each_command_of_the_readme_works(line, folder):
    words = [str(path) for word in line for path in (sorted(folder.glob(word)) if "*" in word else [word])]
    said = called(*words, *cheaper(line), *(["--force"] if {"--save", "-o"} & set(line) else []), cwd=folder)
    assert said.code == 0, said.err


@cache
def output(command, folder):
    """What a command prints, run once for all that the README says of it."""
    return printed(command + SHOWN_CHEAPLY.get(command, ""), folder)


def constant_words(text, command):
    """The words of an output without the figures that differ from machine to machine."""
    for pattern in MEASURED[command.split()[1]]:
        text = re.sub(pattern, "#", text)
    return [word for word in text.split() if not set(word) <= set("#─,;()")]


@pytest.mark.measure
@pytest.mark.parametrize("command", COMMANDS_SHOWN)
def test_a_command_of_the_readme_prints_what_the_readme_shows(command, tmp_path_factory):
    text = output(command, tmp_path_factory.mktemp("shown"))
    for shown, block in consoles(TEXT):
        if shown.partition(" | ")[0] == command:
            assert " ".join(constant_words(block, command)) in " ".join(constant_words(text, command))
    for shown, answer in tables(TEXT):
        if shown == command:
            assert [part for part in re.findall(r"`([^`]+)`", answer) if part not in text] == []
            figures = set(re.findall(r"\b\d[\d,.]*\b", re.sub(r"`[^`]+`", "", answer)))
            assert figures <= set(re.findall(r"\b\d[\d,.]*\b", text))


@pytest.mark.parametrize("command", [line for line in shell_lines(EVIDENCE_TEXT) if "memtrain " in line])
def test_each_command_of_the_evidence_works(command, tmp_path):
    shutil.copytree(ROOT / "results" / "reference", tmp_path / "reference")
    words = shlex.split(command)[1:]
    assert called(*words, *cheaper(words), cwd=tmp_path).code == 0


@pytest.mark.parametrize("command", [command for command, _ in consoles(EVIDENCE_TEXT)])
def test_each_long_command_of_the_evidence_predicts_what_it_shows(command, tmp_path):
    cheaply = "--no-confirm" if "frontier" in command else "--no-measure --cost flops"
    text = printed(f"{command} {cheaply}", tmp_path)
    (block,) = (block for shown, block in consoles(EVIDENCE_TEXT) if shown == command)
    first = block.partition("\n\n")[0] if "frontier" in command else block.partition(" (depth")[0]
    assert first in text


@pytest.mark.parametrize(
    "command", [line for line in shell_lines(EVIDENCE_TEXT) if line.startswith("scripts/")]
)
def test_each_script_of_the_evidence_runs(command, tmp_path):
    if command.startswith("scripts/test "):
        assert (ROOT / command.split()[1]).exists()
        return
    name = command.split()[0].partition("/")[2]
    if name == "retained":
        pytest.importorskip("torch")
    module = ROOT / "tests" / f"{IN_TESTS[name]}.py" if name in IN_TESTS else SCRIPTS / f"{name}.py"
    line = [sys.executable, module, *FEWER_CASES[command].split()]
    said = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_table_of_the_benchmark_shows_its_rows():
    with (ROOT / "results" / "bench.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = re.findall(r"^\| (\d+) × (\d+) × (\d+) \| (.*) \|$", EVIDENCE_TEXT, re.MULTILINE)
    assert len(lines) == 5
    for depth, width, batch, cells in lines:
        for engine, cell in zip(
            ("memtrain", "torch", "torch.compile", "jax"), cells.split(" | "), strict=True
        ):
            wanted = {"engine": engine, "depth": depth, "width": width, "batch": batch, "mode": "train"}
            (row,) = (row for row in rows if wanted.items() <= row.items())
            step_ms = 1e3 * float(row["step_s"])
            peaks = [float(row[f"{meter}_peak_bytes"]) / 2**20 for meter in ("heap", "resident")]
            shown = [f"{step_ms:.{int(step_ms < 100)}f} ms", *(f"{peak:.1f}" for peak in peaks)]
            assert cell.split(" · ") == shown


@pytest.mark.oracle
def test_the_tables_of_what_is_retained_are_those_that_the_script_prints():
    pytest.importorskip("torch")
    from retained import tables

    assert [table for table in tables() if table not in EVIDENCE_TEXT] == []


def test_the_python_of_the_readme_works(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})


@pytest.mark.parametrize(("text", "folder"), [(TEXT, ROOT), (EVIDENCE_TEXT, ROOT / "results")])
def test_all_that_a_readme_links_to_is_there(text, folder):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    assert links
    assert [link for link in links if "://" not in link and not (folder / link).exists()] == []
    scripts = set(re.findall(r"`scripts/(\w+)", text))
    assert [name for name in scripts if not (SCRIPTS / name).exists()] == []


def test_each_section_of_the_evidence_that_the_readme_names_is_there():
    titles = re.findall(r"^## (.*)$", EVIDENCE_TEXT, re.MULTILINE)
    known = {title.lower().replace(" ", "-") for title in titles}
    named = set(re.findall(r"results/README\.md#([\w-]+)", TEXT))
    assert named
    assert named <= known


@pytest.mark.parametrize("text", [TEXT, EVIDENCE_TEXT])
def test_lines_of_prose_are_at_most_100_characters(text):
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert [line for line in prose.splitlines() if len(line) > 100 and not line.startswith("|")] == []
