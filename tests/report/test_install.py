"""The commands that install missing packages: they suit each way in which memtrain can be installed."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from paths import PACKAGE

import memtrain
from memtrain.report import install
from memtrain.report.install import install_command

REQUIRED = """Metadata-Version: 2.4
Name: memtrain
Version: 0.1.0
Requires-Dist: graphlay<0.4,>=0.3.1; platform_machine in 'x86_64'
Requires-Dist: plotly-express>=9; extra == 'report'
Requires-Dist: jinja2>=3.1; extra == 'report'
Requires-Dist: plotly>=6.3; extra == 'report'
"""


def installed(tmp_path, monkeypatch, origin):
    """Simulate an installation from ``origin`` by the file that pip writes (PEP 610)."""
    folder = tmp_path / "memtrain-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(REQUIRED)
    if origin is not None:
        (folder / "direct_url.json").write_text(origin if isinstance(origin, str) else json.dumps(origin))
    monkeypatch.syspath_prepend(str(tmp_path))


def editable(folder, **more):
    return {"url": folder.as_uri(), "dir_info": {"editable": True}, **more}


def words(*libraries, **extra):
    python, *others = shlex.split(install_command(*libraries, **extra))
    assert python == sys.executable
    assert others[:3] == ["-m", "pip", "install"]
    return others[3:]


def test_an_editable_installation_is_installed_again_with_the_extra(tmp_path, monkeypatch):
    source = tmp_path / "it's a [folder] with ü"
    (source / "memtrain").mkdir(parents=True)
    monkeypatch.setattr(install.memtrain, "__file__", str(source / "memtrain" / "__init__.py"))
    installed(tmp_path, monkeypatch, editable(source))
    assert words("plotly", "jinja2", extra="report") == ["-e", f"{source}[report]"]
    assert words("graphlay") == ["graphlay<0.4,>=0.3.1"]


@pytest.mark.parametrize(
    "origin",
    [
        None,
        {"url": "https://example.org/memtrain.whl", "archive_info": {}},
        {"url": PACKAGE.parent.as_uri(), "dir_info": {}},
        editable(Path("/elsewhere")),
        {"url": "https://example.org/memtrain.git", "dir_info": {"editable": True}},
        "no JSON",
        "[]",
    ],
)
def test_any_other_installation_gets_the_libraries_in_the_versions_that_are_asked_for(
    origin, tmp_path, monkeypatch
):
    installed(tmp_path, monkeypatch, origin)
    assert words("plotly", "jinja2", extra="report") == ["plotly>=6.3", "jinja2>=3.1"]
    assert words("unheard-of") == ["unheard-of"]


def test_without_any_installation_the_libraries_are_named(monkeypatch):
    def missing(name):
        raise install.PackageNotFoundError(name)

    monkeypatch.setattr(install, "distribution", missing)
    assert words("plotly", "jinja2", extra="report") == ["plotly", "jinja2"]


def test_what_is_said_here_is_what_pip_can_read():
    said = words("plotly", "jinja2", extra="report")
    if said[0] == "-e":
        assert Path(said[1].removesuffix("[report]"), "pyproject.toml").is_file()
    else:
        assert [word.partition(">=")[0] for word in said] == ["plotly", "jinja2"]


def test_nothing_else_in_the_package_says_how_to_install():
    found = [path.name for path in PACKAGE.rglob("*.py") if "pip install" in path.read_text(encoding="utf-8")]
    assert found == []


def test_input_files_are_looked_at_before_libraries(tmp_path):
    code = (
        "import sys; sys.modules.update(plotly=None, jinja2=None)\n"
        "import memtrain.report.html as page; page.find_spec = lambda name: None\n"
        "from memtrain.__main__ import main; main()"
    )

    def said(*arguments):
        command = [sys.executable, "-c", code, "report", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert "nope.csv cannot be read" in said("nope.csv").stderr
    from memtrain.cells.row import predicted_row
    from memtrain.sweeps.store import rows_csv

    (tmp_path / "a.csv").write_text(rows_csv([predicted_row(memtrain.cell_of(), "train")]))
    found = said("a.csv")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("memtrain: an HTML page needs plotly and jinja2; ")
    assert " -m pip install " in found.stderr
