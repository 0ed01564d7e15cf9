"""The rates of this machine, kept in the user's cache between commands.

A prediction reads them from the cache and measures nothing. `memtrain.measure.host.Host` measures the rates
and writes them to the cache.
"""

from __future__ import annotations

from dataclasses import asdict

from memtrain.planning.cost import Rates
from memtrain.run.user_cache import Kept

UNKNOWN = (
    "the speed of this machine is not known yet, so the plan minimises FLOPs instead of time; "
    "`memtrain plan`, `train` or `sweep` measures it"
)
"""The note for a plan that should minimise time if no rates are kept and none may be measured."""


KEPT_RATES: Kept[Rates] = Kept("rates.json", Rates.of, asdict)


def kept_rates() -> Rates | None:
    """The rates that are kept for this machine; ``None`` if there are none."""
    return KEPT_RATES.value()


def unkept_rates() -> str | None:
    """Why plans that minimise time can differ between runs on this machine; ``None`` if rates are kept."""
    if kept_rates() is not None:
        return None
    return (
        "the measured speed of this machine cannot be stored, so plans that minimise time can differ from "
        "run to run; set XDG_CACHE_HOME to a writable folder, or use --cost flops"
    )
