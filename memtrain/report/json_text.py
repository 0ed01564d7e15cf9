"""Documents and records as JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import isfinite
from types import NoneType
from typing import Any


def json_text(document: dict[str, Any]) -> str:
    """A document as JSON text, indented."""
    return json.dumps(_plain(document), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    """``value`` as JSON values: records as objects, and null for every number that is not finite."""
    if isinstance(value, (str, int, NoneType)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None  # the loss of a run that diverged
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if is_dataclass(value):
        return {name: _plain(inner) for name, inner in fields_of(value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a record by name."""
    return {field.name: getattr(value, field.name) for field in fields(value)}
