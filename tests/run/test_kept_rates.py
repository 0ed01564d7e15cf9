"""Kept rates: read only from folders that no other user can write, and only for this machine and version."""

from __future__ import annotations

import json
import tempfile

import pytest

from memtrain.planning.cost import Rates
from memtrain.run import user_cache as module
from memtrain.run.kept_rates import KEPT_RATES, kept_rates
from memtrain.run.user_cache import Kept

RATES = Rates(1e9, 1e8, {"relu": 1e8})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of kept rates, with rates that can be read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert kept_rates() is None
    assert KEPT_RATES.value_or(lambda: RATES) == RATES
    assert kept_rates() == RATES
    return tmp_path / "cache" / "memtrain"


def test_a_folder_that_others_can_write_is_not_read(folder):
    """Otherwise another user could influence the plans of this user."""
    for mode in (0o777, 0o770, 0o702):
        folder.chmod(mode)
        assert kept_rates() is None
    folder.chmod(0o755)
    assert kept_rates() == RATES


def test_a_link_to_a_folder_is_not_followed(folder):
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"))
    assert kept_rates() is None


@pytest.mark.parametrize("change", ["cpu_name", "usable_cores", "__version__"])
def test_the_rates_of_another_machine_or_version_are_not_taken(folder, monkeypatch, change):
    there = "another" if change == "__version__" else lambda: "another"
    monkeypatch.setattr(module, change, there)
    assert kept_rates() is None
    other = Rates(2e9, 1e8, {})
    assert KEPT_RATES.value_or(lambda: other) == other
    assert len(json.loads((folder / "rates.json").read_text())) == 1


def test_what_is_kept_is_not_measured_again(folder):
    def measure():
        raise AssertionError("it was measured")

    assert KEPT_RATES.value_or(measure) == RATES


def test_a_measurement_that_fails_keeps_nothing(folder):
    (folder / "rates.json").unlink()

    def measure():
        raise RuntimeError("no figures")

    with pytest.raises(RuntimeError, match="no figures"):
        KEPT_RATES.value_or(measure)
    assert kept_rates() is None
    assert KEPT_RATES.value_or(lambda: RATES) == RATES  # the folder is no longer locked


def test_the_measurement_of_one_value_may_keep_another(folder):
    """The rates are measured with the BLAS kernel that is measured first, under a lock of its own."""
    (folder / "rates.json").unlink()
    inner = Kept("inner.json", int, int)
    assert KEPT_RATES.value_or(lambda: Rates(inner.value_or(lambda: 7), 1e8, {})).flops_per_s == 7
    assert inner.value() == 7
