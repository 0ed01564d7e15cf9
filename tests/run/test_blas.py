"""The BLAS kernel and the number of threads of a process, on simulated machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from memtrain.run import blas

AVX512 = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@pytest.fixture
def cpu(monkeypatch):
    """A function that sets the instruction sets of the simulated CPU."""

    def have(*flags):
        monkeypatch.setattr(blas, "_cpu_flags", lambda: {"sse2", "avx2", *flags})

    return have


def test_the_avx512_kernel_is_named_where_the_cpu_has_all_of_its_instructions(cpu):
    cpu(*AVX512)
    assert blas.blas_environment(1, {})["OPENBLAS_CORETYPE"] == "SkylakeX"
    assert blas.has_avx512()


@pytest.mark.parametrize("missing", sorted(AVX512))
def test_no_kernel_is_named_where_one_instruction_set_is_missing(cpu, missing):
    """The kernel would end the process with an illegal instruction."""
    cpu(*AVX512 - {missing})
    assert "OPENBLAS_CORETYPE" not in blas.blas_environment(1, {})
    assert not blas.has_avx512()


def test_the_users_own_choice_of_a_kernel_stands(cpu):
    cpu(*AVX512)
    assert "OPENBLAS_CORETYPE" not in blas.blas_environment(1, {"OPENBLAS_CORETYPE": "Haswell"})


def test_every_blas_library_is_told_the_number_of_threads(cpu):
    cpu()
    assert blas.blas_environment(3, {}) == dict.fromkeys(THREADS, "3")
    assert blas.blas_environment(2, {"OMP_NUM_THREADS": "9"}) == dict.fromkeys(THREADS, "2")


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
    assert blas.cpu_name() == "Some CPU @ 3.0 GHz: fast"
    assert blas._cpu_flags() == {"fpu", "avx512f", "avx512vl"}


@pytest.mark.parametrize("text", ["", "Features\t: fp asimd\n", None])
def test_a_cpu_that_linux_does_not_name_is_called_by_its_kind(monkeypatch, text):
    def read(path, encoding):
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(blas.platform, "machine", lambda: "aarch64")
    assert blas.cpu_name() == "aarch64"
    assert blas._cpu_flags() == set()
