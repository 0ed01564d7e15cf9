"""Completion, requested in the way of a shell."""

from __future__ import annotations

import subprocess
import sys

import pytest
from command_line import called

RUN = "import sys; sys.argv = ['memtrain', *sys.argv[1:]]; from memtrain.__main__ import main; main()"


def completed(line, cwd):
    """The words that bash offers for the last word of a line."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_MEMTRAIN_COMPLETE": "complete_bash"}
    said = called(cwd=cwd, **asked)
    assert (said.code, said.err) == (0, "")
    return said.out.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("memtrain fr", "frontier"),
        ("memtrain help sw", "sweep"),
        ("memtrain sweep --activation ge", "gelu gelu_tanh"),
        ("memtrain sweep --activation relu,gelu,ge", "relu,gelu,gelu_tanh"),
        ("memtrain explain --optimizer ", "sgd momentum adam"),
        ("memtrain train --dtype f", "float32 float64"),
        ("memtrain plan --update e", "eager"),
        ("memtrain sweep --allocation fresh,p", "fresh,packed"),
        ("memtrain plan --cost ", "seconds flops"),
        ("memtrain sweep --model ", "mlp lenet cnn resnet transformer rnn"),
        ("memtrain sweep --mode i", "infer"),
        ("memtrain sweep --meters heap,", "heap,ledger heap,resident heap,time"),
        ("memtrain compare a b --meters t", "time"),
        ("memtrain sweep --policy none,r", "none,revolve:"),
        ("memtrain sweep --data ", "digits topics synthetic data/ mine.csv notes.txt"),
        ("memtrain sweep --data data/", "data/big.npz"),
        ("memtrain train --data s", ""),
        ("memtrain predict model.npz m", "mine.csv"),
        ("memtrain sweep --memory", "--memory"),
        ("memtrain sweep --export-c", "--export-csv"),
        ("memtrain sweep --export-csv ", ""),  # the shell offers files
    ],
)
def test_values_are_completed(line, offered, tmp_path):
    (tmp_path / "mine.csv").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "big.npz").touch()
    assert completed(line, tmp_path) == offered.split()


def test_completion_does_not_wait_for_numpy(tmp_path):
    code = f"{RUN[:-6]}\ntry: main()\nfinally: print('numpy' in sys.modules, file=sys.stderr)"
    asked = {
        "COMP_WORDS": "memtrain sweep --dtype ",
        "COMP_CWORD": "3",
        "_MEMTRAIN_COMPLETE": "complete_bash",
    }
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=asked, capture_output=True, text=True
    )
    assert (ran.stdout.split(), ran.stderr) == (["float32", "float64"], "False\n")


def test_completion_is_installed_for_a_shell(tmp_path):
    said = called(
        "--install-completion",
        "bash",
        cwd=tmp_path,
        HOME=str(tmp_path),
        _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1",
    )
    assert said.code == 0
    assert [file for file in tmp_path.rglob("*.sh") if "complete" in file.read_text()]
    assert (tmp_path / ".bashrc").exists()
