"""The registry of families: the one place that imports them. `memtrain.cells.columns` lists their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from memtrain.errors import unknown_choice
from memtrain.models.mlp import MLP
from memtrain.models.network import Network

FAMILIES: dict[str, type[Network]] = {family.family: family for family in (MLP,)}
"""Every family by its name, the value of ``--model``."""


def family_of(name: object) -> type[Network]:
    """The family of that name. Raises ``SpecError``."""
    if not isinstance(name, str) or name not in FAMILIES:
        raise unknown_choice("model", name, FAMILIES)
    return FAMILIES[name]


def columns_of(name: object) -> tuple[str, ...]:
    """The columns that apply to networks of a family. Raises ``SpecError``."""
    return tuple(field.name for field in fields(family_of(name)))


def make_network(name: object, columns: Mapping[str, Any]) -> Network:
    """A network of a family; columns that are not given take their defaults. Raises ``SpecError``."""
    return family_of(name)(**columns)


def read_network(values: Mapping[str, Any]) -> Network:
    """A network from its JSON. Raises ``SpecError``."""
    return family_of(values.get("family", MLP.family)).from_json(
        {name: value for name, value in values.items() if name != "family"}
    )
