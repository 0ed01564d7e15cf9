"""The default cells of commands and of the functions with the same names in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memtrain.cells.columns import BY_NAME

EXPLAINED = {"depth": 16, "batch": 1024}
"""The default cell of ``explain`` for a multilayer perceptron. Retained values are most of its peak."""

_FAMILY = BY_NAME["model"].default
_OF_IMAGES = {"batch": 32, "optimizer": "adam", "image": 16}
_OF_TEXT = {"batch": 16, "optimizer": "adam", "sequence": 64}
_TRAINED: Mapping[str, Mapping[str, Any]] = {
    "mlp": {"depth": 2, "batch": 32},
    "lenet": {"batch": 32, "optimizer": "adam"},
    "cnn": _OF_IMAGES,
    "resnet": _OF_IMAGES,
    "transformer": {**_OF_TEXT, "width": 64},
    "rnn": _OF_TEXT,
}
_EPOCHS = {"mlp": 40, "lenet": 20, "cnn": 10, "resnet": 5, "transformer": 3, "rnn": 2}
"""By family: a training that learns something visible within a minute."""

FRONTIER_DEPTHS = "1:64:x2"
FRONTIER_AXES = ("depth", "width", "image", "sequence", "vocabulary", "batch")
"""The columns that can be an axis of ``frontier``. The first axis is the one that stands here first."""

TRAINED_SHOWN = {
    "depth": "2 for mlp, else by family",
    "batch": "16 for language models, else 32",
    "optimizer": "sgd for mlp, else adam",
    "image": "28 for lenet, else 16",
    "sequence": "64",
    "allocation": "packed",
}
"""The defaults of ``train`` as its help shows them."""

EPOCHS_SHOWN = ", ".join(f"{count} for {family}" for family, count in _EPOCHS.items())


def with_explained(given: Mapping[str, Any]) -> dict[str, Any]:
    """The ``given`` columns, completed by the default cell of ``explain``."""
    other_family = given.get("model") not in (None, _FAMILY)
    return _completed(given, {} if other_family else EXPLAINED)


def with_trained(given: Mapping[str, Any]) -> dict[str, Any]:
    """The ``given`` columns, completed by the default cell of ``train`` for their family."""
    usual = _TRAINED.get(given.get("model") or _FAMILY, {})
    allocation = {"allocation": "packed"} if given.get("engine") in (None, BY_NAME["engine"].default) else {}
    return _completed(given, {**usual, **allocation})


def usual_epochs(given: Mapping[str, Any]) -> int:
    """The default number of epochs for the family of the ``given`` columns."""
    return _EPOCHS.get(given.get("model") or _FAMILY, _EPOCHS[_FAMILY])


def _completed(given: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """The ``given`` columns, completed by ``usual``. If ``layers`` is given, it determines the depth."""
    chosen = {name: value for name, value in usual.items() if given.get(name) is None}
    if given.get("layers") is not None:
        chosen.pop("depth", None)
    return {**given, **chosen}


def as_shown(usual: Mapping[str, Any]) -> dict[str, str]:
    """The values of ``usual``, which are for a multilayer perceptron, as text for a help."""
    return {name: f"{value} for mlp, else by family" for name, value in usual.items()}
