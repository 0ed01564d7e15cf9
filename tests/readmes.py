"""The two READMEs: the commands in them, and what these printed.

    python tests/readmes.py      (or scripts/readme)

runs the command of each console block and writes its output into the block.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from paths import ROOT

README, EVIDENCE = ROOT / "README.md", ROOT / "results" / "README.md"
CONSOLE = re.compile(r"```console\n\$ (?P<command>[^\n]+)\n(?P<printed>.*?)```", re.DOTALL)


def consoles(text):
    """Each command in a console block of a text, with what the block says it printed."""
    return [(block["command"], block["printed"]) for block in CONSOLE.finditer(text)]


def tables(text):
    """Each row of a table that names a command of memtrain: the command, and the last column."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [(column[1:-1], row[-1]) for row in rows for column in row[:-1] if column.startswith("`memtrain ")]


def shell_lines(text):
    """Each line of the shell blocks, without its comment."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]


def commands(text):
    """The words of each command of memtrain in the shell blocks, but of those that name no certain file."""
    words = [shlex.split(part) for line in shell_lines(text) for part in line.split("&&")]
    return [line[1:] for line in words if line[:1] == ["memtrain"] and not any("…" in word for word in line)]


def commands_shown(text):
    """Each command whose output a text shows, in a console block or in a table."""
    return sorted({command.partition(" | ")[0] for command, _ in [*consoles(text), *tables(text)]})


def printed(command, folder):
    """What a command prints to stdout, as a pipe receives it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        command, shell=True, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def renewed(block, folder):
    """A console block with what its command prints now."""
    return f"```console\n$ {block['command']}\n{printed(block['command'], folder)}```"


def main():
    for document in (README, EVIDENCE):
        text = document.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            text = CONSOLE.sub(lambda block: renewed(block, folder), text)
        document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
