"""The registry of families. No other module imports a family; `memtrain.cells.columns` lists their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from memtrain.errors import unknown_choice
from memtrain.models.cnn import CNN
from memtrain.models.lenet import LeNet
from memtrain.models.mlp import MLP
from memtrain.models.network import Network
from memtrain.models.resnet import ResNet
from memtrain.models.rnn import RNN
from memtrain.models.transformer import Transformer

FAMILIES: dict[str, type[Network]] = {
    family.family: family for family in (MLP, LeNet, CNN, ResNet, Transformer, RNN)
}
"""Every family, by the name that ``--model`` takes."""


def family_of(name: object) -> type[Network]:
    """The family called ``name``. Raises ``SpecError`` if there is none."""
    if not isinstance(name, str) or name not in FAMILIES:
        raise unknown_choice("model", name, FAMILIES)
    return FAMILIES[name]


def columns_of(name: object) -> tuple[str, ...]:
    """The columns that apply to the networks of the family ``name``. Raises ``SpecError``."""
    return tuple(field.name for field in fields(family_of(name)))


def make_network(name: object, columns: Mapping[str, Any]) -> Network:
    """A network of the family ``name``. Columns not given have their defaults. Raises ``SpecError``."""
    return family_of(name)(**columns)


def read_network(values: Mapping[str, Any]) -> Network:
    """A network from its JSON. Raises ``SpecError``."""
    return family_of(values.get("family", MLP.family)).from_json(
        {name: value for name, value in values.items() if name != "family"}
    )
