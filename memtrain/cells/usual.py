"""The default cells of commands and of the functions with the same names in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memtrain.cells.columns import BY_NAME

EXPLAINED = {"depth": 16, "batch": 1024}
"""The default cell of ``explain``. Retained values are most of its peak."""

TRAINED = {"depth": 2, "batch": 32, "allocation": "packed"}
"""The default of ``train``: a training that reaches a good accuracy in seconds."""

FRONTIER_DEPTHS = "1:64:x2"


def with_usual(given: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """The ``given`` columns, completed by ``usual``. If ``layers`` is given, it determines the depth.

    Depth and batch are usual for the default family only. Each other family has its own.
    """
    other_family = given.get("model") not in (None, BY_NAME["model"].default)
    chosen = {name: value for name, value in usual.items() if given.get(name) is None}
    if other_family:
        chosen = {name: value for name, value in chosen.items() if name not in ("depth", "batch")}
    if given.get("layers") is not None:
        chosen.pop("depth", None)
    return {**given, **chosen}


def as_shown(usual: Mapping[str, Any]) -> dict[str, str]:
    """The values of ``usual`` as text for a help."""
    return {name: str(value) for name, value in usual.items()}
