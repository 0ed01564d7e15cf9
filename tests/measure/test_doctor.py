"""The doctor: it finds a broken meter, and gives a remedy for each setting that is not ideal."""

from __future__ import annotations

import json

import pytest
from command_line import memtrain
from fake_host import FakeHost

from memtrain.cells.row import predicted_row
from memtrain.errors import ChildFailed, MeterUnavailable
from memtrain.measure import doctor, machine
from memtrain.measure.doctor import TRIAL, State, examine
from memtrain.measure.environment import environment

BLAS = "openblas 0.3 SkylakeX"


def meters(**given):
    """A fake host on which every meter gives the prediction, except the given ones (figures or an error)."""
    predicted = predicted_row(TRIAL, "train")["predicted_peak_bytes"]
    answers = {
        "ledger": {
            "ledger_peak_bytes": predicted,
            "environment": dict.fromkeys(("cpu", "python", "numpy", "memtrain"), "x")
            | {"blas": BLAS, "settings": {}},
        },
        "heap": {"heap_peak_bytes": predicted + 100},
        "resident": {"resident_peak_bytes": predicted + 100},
        "time": {"step_s": 0.01},
        **given,
    }

    def measure(meter, cell, mode, timeout_s):
        if isinstance(answers[meter], Exception):
            raise answers[meter]
        return answers[meter]

    return measure


def found(measure, subject):
    (finding,) = [finding for finding in examine(FakeHost(measure)) if finding.subject == subject]
    return finding


def test_on_a_good_machine_every_meter_is_fine():
    for subject in ("ledger", "heap", "resident", "blas"):
        assert found(meters(), subject).state is State.FINE


@pytest.mark.parametrize("meter", ["heap", "resident"])
def test_a_meter_that_is_off_by_more_than_is_promised_is_broken(meter):
    off = {"heap": 17 * 1024, "resident": 2 * 1024**2}[meter]
    predicted = predicted_row(TRIAL, "train")["predicted_peak_bytes"]
    finding = found(meters(**{meter: {f"{meter}_peak_bytes": predicted + off}}), meter)
    assert finding.state is State.BROKEN
    assert f"{off:+,} B" in finding.found
    assert finding.remedy


@pytest.mark.parametrize("meter", ["ledger", "heap", "resident", "time"])
def test_a_meter_whose_process_fails_is_broken_and_says_why(meter):
    finding = found(meters(**{meter: ChildFailed("error", "no space left on the disk")}), meter)
    assert finding.state is State.BROKEN
    assert "no space left" in finding.found


def test_a_meter_that_the_platform_lacks_is_not_broken():
    finding = found(meters(heap=MeterUnavailable("the heap meter needs memray")), "heap")
    assert (finding.state, finding.remedy) == (State.NOT_IDEAL, "the heap column stays empty")


def test_a_slow_kernel_on_a_fast_cpu_is_not_ideal(monkeypatch):
    monkeypatch.setattr(doctor, "has_avx512", lambda: True)
    monkeypatch.setitem(globals(), "BLAS", "openblas 0.3 Haswell")
    finding = found(meters(), "blas")
    assert finding.state is State.NOT_IDEAL
    assert "OPENBLAS_CORETYPE" in finding.remedy


def test_huge_pages_that_are_always_on_are_not_ideal(monkeypatch):
    monkeypatch.setattr(doctor, "environment", lambda: {**doctor_environment, "huge_pages": "[always] never"})
    assert found(meters(), "huge pages").state is State.NOT_IDEAL


doctor_environment = doctor.environment()


def test_free_memory_is_bounded_by_the_control_group(tmp_path):
    host = machine.free_memory_bytes(tmp_path)  # no control group there
    assert host > 10**6
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert machine.free_memory_bytes(tmp_path) == 2_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.free_memory_bytes(tmp_path) > 2_000_000
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("500\n")
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("900\n")
    assert machine.free_memory_bytes(tmp_path) == 0


@pytest.mark.measure
def test_the_command_tries_the_meters_for_real_and_ends_well(tmp_path):
    done = memtrain("doctor", "--json", cwd=tmp_path)
    states = {finding["subject"]: finding["state"] for finding in json.loads(done.out)["findings"]}
    assert done.code == 0
    assert {states[meter] for meter in ("ledger", "heap", "resident", "time", "blas")} <= {
        "fine",
        "not ideal",
    }


BLIND_MEMRAY = """
from types import SimpleNamespace
class Tracker:
    def __init__(self, file): pass
    def __enter__(self): pass
    def __exit__(self, *exception): pass
class FileReader(Tracker):
    metadata = SimpleNamespace(peak_memory=0)
    def __enter__(self): return self
    def get_leaked_allocation_records(self, merge_threads): return []
"""


@pytest.mark.measure
def test_the_command_ends_with_1_when_a_meter_is_blind(tmp_path):
    (tmp_path / "memray.py").write_text(BLIND_MEMRAY)
    done = memtrain("doctor", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.code == 1
    assert "control allocation" in " ".join(done.out.split())


@pytest.mark.parametrize("name", doctor.CHANGING)
def test_a_setting_that_changes_the_allocator_is_recorded_and_not_ideal(name, monkeypatch):
    """Otherwise results that were measured with another allocator could not be recognised."""
    monkeypatch.setenv(name, "1")
    assert environment()["settings"][name] == "1"
    finding = doctor._allocator()
    assert (finding.state, name in finding.remedy) == (State.NOT_IDEAL, True)
