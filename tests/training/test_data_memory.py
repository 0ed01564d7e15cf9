"""The memory of data in a real process: training holds them once, and prediction holds one block."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.measure

RUN = """
import re, sys
to = sys.argv.pop(1)

def ended():
    status = open("/proc/self/status").read()
    open(to, "w").write(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1])

"""
"""A program that reports its own peak at its end, since ``ru_maxrss`` may be the peak of its parent."""

MEMTRAIN = f"""{RUN}
from memtrain.cli.app import main
try:
    main()
finally:
    ended()
"""
CONTROL = f"""{RUN}
import numpy as np
held = np.ones(int(sys.argv[1]), np.uint8)
ended()
"""
SMALL = ("--epochs", 1, "--depth", 1, "--width", 8, "--batch", 256)
ROWS, INPUTS = 100_000, 100
ARRAY_BYTES = 4 * ROWS * INPUTS
MILLION = 1_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with small and large data, and with models that were trained on the small data."""
    place = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((ROWS, INPUTS), np.float32), np.arange(ROWS) % 3
    np.savez(place / "tiny.npz", x=x[:30], y=y[:30])
    np.savez(place / "float32.npz", x=x, y=y)
    np.savez(place / "float64.npz", x=x.astype("f8"), y=y)
    np.savez(place / "columns.npz", x=np.asfortranarray(x), y=y)
    np.savez_compressed(place / "deflated.npz", x=np.round(x).astype("i1"), y=y)
    row = ",".join(["0.25"] * INPUTS)
    write_csv(place / "large.csv", row, ROWS // 2)  # to read all takes seconds
    write_csv(place / "tiny.csv", row, 30)
    write_csv(place / "million.csv", "0.25,-1.5", MILLION)
    write_csv(place / "tiny2.csv", "0.25,-1.5", 30)
    np.savez(place / "million.npz", x=rng.standard_normal((MILLION, 2)))
    peak(place, MEMTRAIN, "train", "--data", "tiny.csv", *SMALL, "--save", "model.npz")
    peak(place, MEMTRAIN, "train", "--data", "tiny2.csv", *SMALL, "--save", "model2.npz")
    return place


def write_csv(path, row, count):
    with path.open("w") as file:
        file.writelines(f"{row},{number % 3}\n" for number in range(count))


def peak(folder, code, *arguments):
    """The resident peak (VmHWM) of a process that runs ``code``, in bytes."""
    line = [sys.executable, "-c", code, "peak.txt", *map(str, arguments)]
    ran = subprocess.run(line, cwd=folder, capture_output=True, timeout=300)
    assert ran.returncode == 0, ran.stderr.decode()[-600:]
    return 1024 * int((folder / "peak.txt").read_text())


def test_the_peak_of_a_process_shows_a_known_allocation(folder):
    known = 50_000_000
    grown = peak(folder, CONTROL, known) - peak(folder, CONTROL, 1)
    assert grown == pytest.approx(known, rel=0.02)


@pytest.fixture(scope="module")
def base_bytes(folder):
    """By kind of file: the peak of a training on 30 examples."""
    files = {".csv": "tiny.csv", ".npz": "tiny.npz"}
    return {kind: peak(folder, MEMTRAIN, "train", "--data", name, *SMALL) for kind, name in files.items()}


@pytest.mark.parametrize("name", ["float32.npz", "float64.npz", "columns.npz", "deflated.npz", "large.csv"])
def test_training_holds_its_data_once(name, folder, base_bytes):
    taken = peak(folder, MEMTRAIN, "train", "--data", name, *SMALL) - base_bytes[name[-4:]]
    held = ARRAY_BYTES // 2 if name.endswith(".csv") else ARRAY_BYTES
    assert held < taken < 1.25 * held


@pytest.mark.parametrize("name", ["deflated.npz"])
def test_predicting_holds_a_block_of_its_data_however_many_there_are(name, folder):
    line = ("predict", "model.npz", name, "--export-csv", "/dev/null")
    base = peak(folder, MEMTRAIN, "predict", "model.npz", "tiny.npz")
    assert peak(folder, MEMTRAIN, *line) - base < 12_000_000


@pytest.mark.parametrize("line", ["million.npz --json", "million.csv --export-csv out.csv"])
def test_a_million_examples_are_predicted_within_115_MB(line, folder):
    assert peak(folder, MEMTRAIN, "predict", "model2.npz", *line.split()) < 115_000_000
