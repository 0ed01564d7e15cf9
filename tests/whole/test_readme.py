"""The README: its commands work as written, and all its links and files exist."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys

import pytest
from command_line import memtrain
from paths import ROOT, SCRIPTS

README = (ROOT / "README.md").read_text(encoding="utf-8")
EVIDENCE = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
CHEAPLY = {
    "sweep": ["--meters", "ledger", "--depth", "1,2", "--batch", "8", "--width", "8"],
    "frontier": ["--no-confirm", "--depth", "1"],
    "plan": ["--no-measure"],
    "train": ["--epochs", "1"],
}
"""Options that make a command quick. They are added if the line does not give them."""


def commands():
    """All command lines of memtrain in the shell blocks of the README."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    words = [shlex.split(part) for line in lines for part in line.split("&&")]
    return [line[1:] for line in words if line[:1] == ["memtrain"] and not any("…" in word for word in line)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with files under the names that the README uses."""
    place = tmp_path_factory.mktemp("readme")
    for name in ("before.csv", "after.csv", "results/sweep.csv"):
        line = ("sweep", *CHEAPLY["sweep"], "--export-csv", name)
        assert memtrain(*line, cwd=place).code == 0
    shutil.copy(ROOT / "results" / "bench.csv", place / "results")  # which is not the CSV of a sweep
    assert memtrain("train", "--epochs", 1, "--save", "model.npz", cwd=place).code == 0
    return place


@pytest.mark.parametrize("line", commands(), ids=" ".join)
def test_each_command_of_the_readme_works(line, folder):
    given = {word for word in line if word.startswith("--")}
    if "--layers" in given:
        given |= {"--depth", "--width"}
    cheaply = CHEAPLY.get(line[0], [])
    options = [
        word
        for option, value in zip(cheaply[::2], cheaply[1::2], strict=False)
        if option not in given
        for word in (option, value)
    ]
    if line[0] in ("frontier", "plan"):
        options = CHEAPLY[line[0]]
    words = [str(path) for word in line for path in (sorted(folder.glob(word)) if "*" in word else [word])]
    said = memtrain(*words, *options, *(["--force"] if {"--save", "-o"} & set(line) else []), cwd=folder)
    assert said.code == 0, said.err


def test_the_python_of_the_readme_works(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize(("text", "folder"), [(README, ROOT), (EVIDENCE, ROOT / "results")])
def test_all_that_a_readme_links_to_is_there(text, folder):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    assert links
    assert [link for link in links if "://" not in link and not (folder / link).exists()] == []
    scripts = set(re.findall(r"`scripts/(\w+)", text))
    assert [name for name in scripts if not (SCRIPTS / name).exists()] == []


def test_each_section_of_the_evidence_that_the_readme_names_is_there():
    titles = re.findall(r"^## (.*)$", EVIDENCE, re.MULTILINE)
    known = {title.lower().replace(" ", "-") for title in titles}
    named = set(re.findall(r"results/README\.md#([\w-]+)", README))
    assert named
    assert named <= known
