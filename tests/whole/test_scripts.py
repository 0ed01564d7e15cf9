"""The environment that the scripts make: missing parts are named, and an incomplete one is made again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import SCRIPTS


@pytest.fixture
def clone(tmp_path):
    """A folder with the script that makes its environment."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPTS / "environment", tmp_path / "scripts")
    return tmp_path


@pytest.fixture(scope="module")
def without_pip(tmp_path_factory):
    """A real Python without ensurepip, as on a Debian without python3-venv."""
    folder = tmp_path_factory.mktemp("python")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(sys.base_prefix, "lib", version)
    (folder / "bin").mkdir()
    (folder / "lib" / version).mkdir(parents=True)
    python = folder / "bin" / version
    shutil.copy(Path(sys.base_prefix, "bin", version), python)
    for entry in library.iterdir():
        if entry.name != "ensurepip":
            (folder / "lib" / version / entry.name).symlink_to(entry)
    found = subprocess.run(
        [python, "-c", "import venv, sys; print(sys.prefix)"], capture_output=True, text=True
    )
    if found.stdout.strip() != str(folder):
        pytest.skip("this Python cannot be moved")
    return python


def make(clone, python, code="make_venv"):
    """The output of bash when it sources the script and makes the environment."""
    line = f"set -euo pipefail; source scripts/environment; {code}"
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(python)}
    return subprocess.run(["bash", "-c", line], cwd=clone, env=environment, capture_output=True, text=True)


def has_pip(clone):
    python = clone / ".venv" / "bin" / "python"
    return (
        python.exists() and not subprocess.run([python, "-c", "import pip"], capture_output=True).returncode
    )


def test_a_python_that_makes_no_environment_is_refused_with_the_remedy_and_nothing_is_left(
    clone, without_pip
):
    said = make(clone, without_pip)
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert "apt-get install python3-venv" in said.stderr
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("python", ["/bin/false", "/nonexistent/python"])
def test_what_is_no_python_is_refused_by_its_name(python, clone):
    said = make(clone, python)
    assert (said.returncode, said.stderr.count("\n")) == (1, 1)
    assert f"{python} is not Python 3.11 or newer" in said.stderr


def test_an_environment_that_is_half_made_is_made_again(clone, without_pip):
    failed = subprocess.run([without_pip, "-m", "venv", clone / ".venv"], capture_output=True)
    assert failed.returncode
    assert (clone / ".venv" / "bin" / "python").exists()
    assert not has_pip(clone)
    said = make(clone, sys.executable)
    assert said.returncode == 0, said.stderr
    assert has_pip(clone)
    (clone / ".venv" / "mine").touch()
    assert make(clone, sys.executable).returncode == 0
    assert (clone / ".venv" / "mine").exists()  # a complete environment is not changed


def test_an_environment_with_packages_is_never_removed(clone):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    (packages,) = (clone / ".venv" / "lib").glob("python*/site-packages")
    (packages / "theirs-1.0.dist-info").mkdir()
    said = make(clone, sys.executable)
    assert said.returncode == 1
    assert "no pip" in said.stderr
    assert (packages / "theirs-1.0.dist-info").exists()
