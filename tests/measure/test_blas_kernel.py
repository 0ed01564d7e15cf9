"""The faster BLAS kernel: measured in processes of its own, once, and kept when a sweep is resumed."""

from __future__ import annotations

import json
import tempfile
from math import inf

import pytest
from command_line import called

from memtrain.measure import blas_kernel
from memtrain.measure.blas_kernel import choose_kernel
from memtrain.run import cpu
from memtrain.run.blas import CORETYPE, KEPT_KERNEL, KERNELS


@pytest.fixture
def seconds(tmp_path, monkeypatch):
    """The seconds of each kernel on a simulated machine with AVX-512, to be set; and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv(CORETYPE, raising=False)
    monkeypatch.setattr(cpu, "_cpu_flags", lambda: cpu._AVX512)
    found = {}
    monkeypatch.setattr(blas_kernel, "_seconds", lambda kernel: found[kernel])
    return found


@pytest.mark.parametrize(
    ("avx512", "avx2", "chosen"),
    [(1.0, 2.0, "SkylakeX"), (1.0, 0.98, "SkylakeX"), (1.0, 0.93, "Haswell"), (inf, 1.0, "Haswell")],
)
def test_the_avx2_kernel_is_chosen_where_it_is_clearly_faster(avx512, avx2, chosen, seconds):
    seconds.update(zip(KERNELS, (avx512, avx2), strict=True))
    choose_kernel()
    assert KEPT_KERNEL.value() == chosen
    seconds.clear()  # another measurement would raise KeyError
    choose_kernel()


def test_nothing_is_measured_where_there_is_no_choice(seconds, monkeypatch):
    monkeypatch.setenv(CORETYPE, "ZEN")
    choose_kernel()
    monkeypatch.delenv(CORETYPE)
    monkeypatch.setattr(cpu, "_cpu_flags", set)
    choose_kernel()
    assert KEPT_KERNEL.value() is None


@pytest.mark.measure
@pytest.mark.skipif(not cpu.has_avx512(), reason="there is one kernel only")
def test_a_process_measures_a_kernel_and_one_that_fails_is_slower_than_any():
    assert 0 < blas_kernel._seconds("Haswell") < 1
    assert blas_kernel._seconds("\0") == inf


@pytest.mark.measure
@pytest.mark.skipif(not cpu.has_avx512(), reason="there is one kernel only")
def test_a_resumed_sweep_keeps_its_kernel_although_another_is_faster_now(tmp_path):
    places = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    line = ("sweep", "--depth", "1", "--batch", "2,3", "--meters", "ledger")
    said = called(*line, "--export-csv", "out.csv", "--export-json", "out.json", cwd=tmp_path, **places)
    assert said.code == 0, said.err
    kept = tmp_path / "cache" / "memtrain" / "blas.json"
    ((machine, kernel),) = json.loads(kept.read_text()).items()
    settings = json.loads((tmp_path / "out.json").read_text())["environment"]["settings"]
    assert settings[CORETYPE] == kernel
    (other,) = set(KERNELS) - {kernel}
    kept.write_text(json.dumps({machine: other}))
    rows = (tmp_path / "out.csv").read_text().splitlines()
    again = called("sweep", "--resume", "out.csv", cwd=tmp_path, **places)
    assert again.code == 0, again.err
    assert (tmp_path / "out.csv").read_text().splitlines() == rows
