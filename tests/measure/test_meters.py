"""The real meters in real child processes: the four ways of counting must agree."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from threading import Thread

import numpy as np
import psutil
import pytest

import memtrain
from memtrain.answers.law import fit_laws
from memtrain.cells.cell import BOTH, Mode, cell_of
from memtrain.errors import ChildFailed
from memtrain.graph.node import Role
from memtrain.measure.client import Server
from memtrain.measure.host import Host
from memtrain.measure.measured import measured_row
from memtrain.measure.meters import CONTROL_BYTES
from memtrain.sweeps.sweep import sweep

pytestmark = [pytest.mark.measure, pytest.mark.skipif(sys.platform != "linux", reason="meters need Linux")]

MIB = 1024**2


@pytest.fixture
def host():
    with Host() as host:
        yield host


@pytest.fixture(scope="module")
def rows():
    return sweep(depth=[1, 4, 16], batch=[128, 1024], width=256, meters=["ledger", "heap", "resident"])


def test_four_ways_of_counting_agree_in_every_row(rows):
    assert len(rows) == 12
    for row in rows:
        assert row.ok, row["reason"]
        ledger = row["ledger_peak_bytes"]
        assert row["predicted_peak_bytes"] == ledger == sum(row[f"peak_{role}_bytes"] for role in Role)
        assert abs(row["heap_peak_bytes"] - ledger) <= max(0.001 * ledger, 16 * 1024)
        assert abs(row["resident_peak_bytes"] - ledger) <= max(0.01 * ledger, MIB)


def test_two_runs_have_the_same_heap_bytes(rows):
    again = sweep(depth=[1, 4, 16], batch=[128, 1024], width=256, meters=["heap"])
    assert [row["heap_peak_bytes"] for row in again] == [row["heap_peak_bytes"] for row in rows]


def test_the_ratio_of_training_to_inference_rises_with_depth(rows):
    peaks = {
        (row.cell["depth"], row.mode): row["ledger_peak_bytes"] for row in rows if row.cell.batch == 1024
    }
    ratios = [peaks[depth, Mode.TRAIN] / peaks[depth, Mode.INFER] for depth in (1, 4, 16)]
    assert ratios == sorted(ratios)
    assert ratios[-1] >= 3.4


def test_the_fitted_slope_is_4h_for_training_and_0_for_inference(rows, host):
    heap = lambda cell, mode: host.measure("heap", cell, mode)["heap_peak_bytes"]  # noqa: E731
    slopes = {law.mode: law for law in fit_laws([row for row in rows if row.cell.batch == 1024], heap)}
    assert slopes[Mode.TRAIN].layer_example_bytes == pytest.approx(1024, rel=0.001)
    assert abs(slopes[Mode.INFER].layer_example_bytes) <= 0.001 * 1024
    assert all(max(law.largest_error, law.hold_out_error) < 0.001 for law in slopes.values())
    law = slopes[Mode.TRAIN]
    unseen = heap(cell_of(depth=11, batch=1100), Mode.TRAIN)
    assert law.peak_bytes(11, 1100) == pytest.approx(unseen, rel=0.001)


@pytest.mark.parametrize(
    "fields",
    [
        {"activation": "gelu", "bias": True, "optimizer": "adam"},
        {"activation": "tanh", "optimizer": "momentum", "dtype": "float64"},
        {"activation": "sigmoid", "l2": 0.0},
        {"depth": 0},
        {"depth": 2, "width": 1, "batch": 1},
        {"depth": 3, "width": (64, 300, 20), "data": "synthetic", "input_size": 784},
    ],
)
def test_the_figures_agree_for_other_networks_too(fields, host):
    cell = {"depth": 3, "batch": 512} | fields
    for mode in BOTH:
        row = memtrain.predicted_row(cell_of(**cell), mode)
        predicted = row["predicted_peak_bytes"]
        assert host.measure("ledger", row.cell, mode)["ledger_peak_bytes"] == predicted
        heap = host.measure("heap", row.cell, mode)["heap_peak_bytes"]
        assert abs(heap - predicted) <= max(0.001 * predicted, 16 * 1024)
        resident = host.measure("resident", row.cell, mode)["resident_peak_bytes"]
        assert abs(resident - predicted) <= max(0.01 * predicted, MIB)


def test_the_heap_meter_sees_a_known_allocation():
    """The control: memray counts an array of 10 million bytes exactly."""
    code = (
        "import memray, numpy, sys, tempfile, os\n"
        "file = os.path.join(tempfile.mkdtemp(), 'f')\n"
        "with memray.Tracker(file):\n"
        "    array = numpy.empty(10_000_000, numpy.uint8)\n"
        "    del array\n"
        "print(memray.FileReader(file).metadata.peak_memory)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert abs(int(out) - 10_000_000) < 4096
    assert CONTROL_BYTES > 1024 * 1024


def test_losses_fall_and_the_environment_is_recorded():
    (row,) = sweep(depth=1, batch=256, steps=8, mode="train", meters=["ledger"])
    assert row["loss_last"] < row["loss_first"]
    assert row["numpy"] == np.__version__
    assert row["memtrain"] == memtrain.__version__
    assert row["blas"]
    assert row.environment["settings"]["MALLOC_MMAP_THRESHOLD_"] == "49152"
    assert row["peak_phase"] in ("forward", "backward", "update")


def test_a_measurement_that_takes_too_long_is_a_timeout_and_leaves_no_process(host):
    slow = cell_of(depth=16, batch=4096, width=1024)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(ChildFailed, match=r"after 0\.5 s") as caught:
        host.measure("ledger", slow, Mode.TRAIN, 0.5)
    assert caught.value.status == "timeout"
    assert not {child.pid for child in psutil.Process().children(recursive=True)} - before


def test_a_child_that_is_killed_is_a_row_and_the_server_goes_on():
    server = Server(timing=False, threads=1)
    small = {"meter": "ledger", "cell": cell_of().values(), "mode": "train"}
    try:
        assert server.ask(small, 60)["status"] == 0
        slow = cell_of(depth=16, batch=4096, width=1024).values()
        request = {"meter": "ledger", "cell": slow, "mode": "train"}

        def kill_the_child():
            process = psutil.Process(server.pid)
            while not (children := process.children()):
                time.sleep(0.01)
            children[0].send_signal(signal.SIGKILL)

        killer = Thread(target=kill_the_child)
        killer.start()
        assert server.ask(request, 60)["status"] == -signal.SIGKILL
        killer.join()
        assert server.ask(small, 60)["status"] == 0
    finally:
        server.close()


def test_memory_that_cannot_be_had_is_a_row_and_the_others_go_on():
    giant = 3_000_000
    rows = sweep(input_size=8, output_size=2, width=[4, giant], depth=2, batch=8, meters=["ledger"])
    assert {row.cell["width"]: row["status"] for row in rows} == {4: "ok", giant: "memory_limit"}
    (reason,) = {row["reason"] for row in rows if row.cell["width"] == giant and row.mode is Mode.TRAIN}
    assert "not tried" in reason
    (row,) = [row for row in rows if row.cell["width"] == giant and row.mode is Mode.TRAIN]
    with Host() as host:
        tried = measured_row(host, row.cell, row.mode, force=True)
    assert (tried["status"], "allocate" in tried["reason"]) == ("memory_limit", True)


def test_a_server_ends_when_its_asker_is_gone():
    server = Server(timing=False, threads=1)
    try:
        process = psutil.Process(server.pid)
        server._process.stdin.close()
        assert process.wait(timeout=10) in (0, None)
    finally:
        server.close()


def test_stopping_ends_a_measurement_that_another_thread_waits_for():
    host = Host()
    slow = cell_of(depth=16, batch=4096, width=1024)
    ended = []

    def ask():
        with pytest.raises(ChildFailed) as caught:
            host.measure("ledger", slow, Mode.TRAIN)
        ended.append(caught.value.status)

    asker = Thread(target=ask)
    with host:
        asker.start()
        time.sleep(0.8)
    asker.join(timeout=10)
    assert ended == ["error"]
    with pytest.raises(ChildFailed, match="stopped"):
        host.measure("ledger", slow, Mode.TRAIN)
