"""From the options of ``memtrain sweep`` to what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from memtrain.sweeps.ranges import parse_integers, parse_numbers, parse_sizes, parse_words
from memtrain.sweeps.request import Request
from memtrain.units import parse_bytes


def _parse_limits(text: str, option: str) -> list[int]:
    return [parse_bytes(limit, option) for limit in parse_words(text, option)]


_AXES: dict[str, Callable[[str, str], list[Any]]] = {
    **dict.fromkeys(("activation", "optimizer", "dtype", "data"), parse_words),
    **dict.fromkeys(("update", "policy", "allocation"), parse_words),
    **dict.fromkeys(("batch", "width", "input_size", "output_size", "accumulate", "threads"), parse_integers),
    **dict.fromkeys(("depth", "seed"), partial(parse_integers, least=0)),
    "steps": partial(parse_integers, least=2),
    "l2": parse_numbers,
    "memory_limit": _parse_limits,
}
"""How the text of each option is read."""

_FIELDS = {"memory_limit": "memory_limit_bytes"}
"""Options whose field of a cell has another name."""


def request_of(options: Mapping[str, Any]) -> Request:
    """What the options of the command (by parameter) ask for. Raises ``InputError``."""
    axes: dict[str, Any] = {"bias": [options["bias"]], "cost": [options["cost"]]}
    for name, parse in _AXES.items():
        if options[name] is not None:
            axes[_FIELDS.get(name, name)] = parse(options[name], f"--{name.replace('_', '-')}")
    layers, meters = options["layers"], parse_words(options["meters"], "--meters")
    sizes = None if layers is None else parse_sizes(layers, "--layers")
    return Request(axes, sizes, options["mode"], meters, options["repeat"])
