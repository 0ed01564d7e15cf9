"""memtrain: why training needs so much more memory than prediction, to the byte and with evidence.

The names here load when they are first used, so that ``import memtrain`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memtrain.cells.cell import Cell, cell_of
    from memtrain.cells.row import Row, predicted_row
    from memtrain.errors import MemtrainError
    from memtrain.functions import explain, frontier, plan, train
    from memtrain.report.figures import timeline_figure
    from memtrain.sweeps.sweep import sweep

__version__ = "0.1.0"

__all__ = [
    "Cell",
    "MemtrainError",
    "Row",
    "__version__",
    "cell_of",
    "explain",
    "frontier",
    "plan",
    "predicted_row",
    "sweep",
    "timeline_figure",
    "train",
]

_HOMES = {
    "Cell": "memtrain.cells.cell",
    "MemtrainError": "memtrain.errors",
    "cell_of": "memtrain.cells.cell",
    "explain": "memtrain.functions",
    "frontier": "memtrain.functions",
    "plan": "memtrain.functions",
    "train": "memtrain.functions",
    "Row": "memtrain.cells.row",
    "predicted_row": "memtrain.cells.row",
    "sweep": "memtrain.sweeps.sweep",
    "timeline_figure": "memtrain.report.figures",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'memtrain' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
