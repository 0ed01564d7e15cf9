"""The BLAS kernel and the number of threads of a process, on simulated machines."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from memtrain.run import blas
from memtrain.run import cpu as cpus
from memtrain.run.user_cache import Kept

AVX512 = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def cpu(monkeypatch):
    """A function that sets the instruction sets of the simulated CPU."""

    def have(*flags):
        monkeypatch.setattr(cpus, "_cpu_flags", lambda: {"sse2", "avx2", *flags})

    return have


def test_the_avx512_kernel_is_named_where_the_cpu_has_all_of_its_instructions(cpu):
    cpu(*AVX512)
    assert blas.blas_environment(1, {})["OPENBLAS_CORETYPE"] == "SkylakeX"
    assert cpus.has_avx512()


@pytest.mark.parametrize("missing", sorted(AVX512))
def test_no_kernel_is_named_where_one_instruction_set_is_missing(cpu, missing):
    """The kernel would end the process with an illegal instruction."""
    cpu(*AVX512 - {missing})
    assert "OPENBLAS_CORETYPE" not in blas.blas_environment(1, {})
    assert not cpus.has_avx512()


def test_the_users_own_choice_of_a_kernel_stands(cpu):
    cpu(*AVX512)
    assert "OPENBLAS_CORETYPE" not in blas.blas_environment(1, {"OPENBLAS_CORETYPE": "Haswell"})


def test_the_kernel_that_was_faster_is_kept_and_named_unless_another_is_asked_for(cpu):
    cpu(*AVX512)
    assert blas.KEPT_KERNEL.value_or(lambda: "Haswell") == "Haswell"
    assert blas.blas_environment(1, {})["OPENBLAS_CORETYPE"] == "Haswell"
    assert blas.blas_environment(1, {}, "SkylakeX")["OPENBLAS_CORETYPE"] == "SkylakeX"
    assert "OPENBLAS_CORETYPE" not in blas.blas_environment(1, {"OPENBLAS_CORETYPE": "ZEN"}, "SkylakeX")


def test_a_kernel_in_the_cache_that_memtrain_does_not_choose_is_not_taken(cpu):
    cpu(*AVX512)
    Kept("blas.json", str, str).value_or(lambda: "Prescott")
    assert blas.KEPT_KERNEL.value() is None
    assert blas.blas_environment(1, {})["OPENBLAS_CORETYPE"] == "SkylakeX"


def test_every_blas_library_is_told_the_number_of_threads(cpu):
    cpu()
    spins = {"OPENBLAS_THREAD_TIMEOUT": "18"}
    assert blas.blas_environment(1, {}) == dict.fromkeys(THREADS, "1")
    assert blas.blas_environment(3, {}) == dict.fromkeys(THREADS, "3") | spins
    assert blas.blas_environment(2, {"OMP_NUM_THREADS": "9"}) == dict.fromkeys(THREADS, "2") | spins
    assert blas.blas_environment(2, {"OPENBLAS_THREAD_TIMEOUT": "26"}) == dict.fromkeys(THREADS, "2")


def test_products_of_half_a_millisecond_or_more_get_all_cores(monkeypatch):
    """A core computes 100 to 200 GFLOP/s, so it needs 0.3 to 0.6 ms for 64 million FLOPs."""
    monkeypatch.setattr(blas, "usable_cores", lambda: 12)
    assert [blas.useful_threads(count) for count in (0, 1_000_000, 63_999_999)] == [1, 1, 1]
    assert [blas.useful_threads(count) for count in (64_000_000, 10**9, 10**15)] == [12, 12, 12]


CPUINFO = """processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: Some CPU @ 3.0 GHz: fast
flags\t\t: fpu avx512f avx512vl

processor\t: 1
model name\t: Another
flags\t\t: fpu
"""


def test_name_and_instructions_are_those_of_the_first_cpu(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: CPUINFO)
    assert cpus.cpu_name() == "Some CPU @ 3.0 GHz: fast"
    assert cpus._cpu_flags() == {"fpu", "avx512f", "avx512vl"}


@pytest.mark.parametrize("text", ["", "Features\t: fp asimd\n", None])
def test_a_cpu_that_linux_does_not_name_is_called_by_its_kind(monkeypatch, text):
    def read(path, encoding):
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(cpus.platform, "machine", lambda: "aarch64")
    assert cpus.cpu_name() == "aarch64"
    assert cpus._cpu_flags() == set()
