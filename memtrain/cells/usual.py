"""The cells that a command, or its function in Python, takes where no others are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXPLAINED = {"depth": 16, "batch": 1024}
"""A cell whose peak is made of what forward keeps. The book's network is depth 1, batch 64."""

TRAINED = {"depth": 2, "batch": 32, "allocation": "packed"}
"""A training that ends in seconds with a good accuracy."""

FRONTIER_DEPTHS = "1:64:x2"


def with_usual(given: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` columns, with those of ``usual`` that are missing; ``layers`` gives the depth itself."""
    chosen = {name: value for name, value in usual.items() if given.get(name) is None}
    if given.get("layers") is not None:
        chosen.pop("depth", None)
    return {**given, **chosen}


def as_shown(usual: Mapping[str, Any]) -> dict[str, str]:
    """The values of ``usual`` as a help text shows them."""
    return {name: str(value) for name, value in usual.items()}
