"""Hosts for tests: some invent their measurements, and others change real measurements."""

from __future__ import annotations

from functools import partial

from memtrain.cells.row import predicted_row
from memtrain.measure.host import Host


class FakeHost(Host):
    """A host that starts no process. Its figures come from ``measure(meter, cell, mode, timeout_s)``."""

    def __init__(self, measure, rates=None):
        super().__init__(rates)
        self._made_up = measure

    def measure(self, meter, cell, mode, timeout_s=None, other=None):
        assert other is None, "no figures are made up for two cells"
        return self._made_up(meter, cell, mode, timeout_s)


class AlteredHost(Host):
    """A host whose figures come from ``measure(real, meter, cell, mode, timeout_s, other)``.

    ``real`` is the method that really measures.
    """

    def __init__(self, measure):
        super().__init__()
        self._altered = measure

    def measure(self, *asked, **named):
        return self._altered(super().measure, *asked, **named)


def altered(measure):
    """An `AlteredHost` for a ``measure`` whose ``real`` takes no arguments: they are bound already."""

    def ask(real, meter, cell, mode, timeout_s=None, other=None):
        return measure(partial(real, meter, cell, mode, timeout_s, other), meter, cell, other)

    return AlteredHost(ask)


def in_turn(**series):
    """A ``measure`` function that gives the figures of each meter one after the other."""

    def measure(meter, cell, mode, timeout_s):
        peak = predicted_row(cell, mode)["predicted_peak_bytes"]
        column = "step_s" if meter == "time" else f"{meter}_peak_bytes"
        extra = series[meter].pop(0) if meter in series else 0
        return {column: extra if meter == "time" else peak + extra, "baseline_bytes": 1}

    return measure
