"""Sessions: a resumed sweep plans with its recorded rates, from its first measurement on."""

from __future__ import annotations

from types import SimpleNamespace

from fake_host import FakeHost

from memtrain.measure import host as module
from memtrain.planning.cost import Rates
from memtrain.sweeps.journal import MUST_AGREE
from memtrain.sweeps.request import Request
from memtrain.sweeps.session import begin, resume

ENVIRONMENT = {**dict.fromkeys(MUST_AGREE, "here"), "settings": {}}
RATES = Rates(1e9, 1e8, {"gelu": 1e6})
REQUEST = Request({"depth": [2], "batch": [4], "width": [8], "policy": ["budget:1MiB"]}, mode="train")


def test_a_resumed_sweep_asks_for_nothing_before_it_has_the_rates_that_were_recorded(tmp_path, monkeypatch):
    def refuse():
        raise AssertionError("the machine was measured")

    monkeypatch.setattr(module, "measured_apart", refuse)
    monkeypatch.setattr(module, "KEPT_RATES", SimpleNamespace(value_or=lambda measure: measure()))
    asked = []

    def measure(meter, *about):
        asked.append((meter, host.rates))
        return ENVIRONMENT

    host = FakeHost(measure, RATES)
    with begin(host, REQUEST, tmp_path / "x.csv", {"environment": ENVIRONMENT}, False).store:
        pass
    host = FakeHost(measure)
    with resume(host, tmp_path / "x.csv").store:
        pass
    assert asked == [("environment", RATES)]
    assert host.rates == RATES
