"""Settings of all tests: one BLAS thread, set before numpy loads. A second one would disturb other tests."""

import os
import subprocess

import pytest

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


COVERED = ("graph", "models", "planning", "run", "cells", "explaining", "answers")
"""The rooms whose lines coverage counts. Their code runs in the process of the tests."""


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    """Stop the coverage that pytest-cov starts in a worker of xdist before it knows that this is a worker.

    It starts a second one now, and the first one would go on counting whenever the second pauses: the marker
    ``no_cover`` would save nothing.
    """
    controller = getattr(session.config.pluginmanager.getplugin("_cov"), "cov_controller", None)
    if controller is not None and hasattr(session.config, "workerinput"):
        controller.cov.stop()


def pytest_collection_modifyitems(items):
    """Count no lines in tests of other rooms, and in tests that start processes."""
    for item in items:
        if item.path.parent.name not in COVERED or item.get_closest_marker("measure"):
            item.add_marker("no_cover")


@pytest.fixture
def small_disk(tmp_path):
    """A new file system of 1 MiB. The test is skipped if mounting is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)
