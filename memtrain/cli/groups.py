"""The groups of options in a help text, and the options of a cell in them."""

from __future__ import annotations

from memtrain.cells.columns import CELL_COLUMNS, Part

NETWORK, TRAINING, MEMORY, MEASUREMENT, OUTPUT, GENERAL = GROUPS = (
    "Network",
    "Training",
    "Memory",
    "Measurement",
    "Output",
    "General",
)
"""The groups of options in a help text, in their order."""

_FIRST = {
    NETWORK: ("model", "depth", "width", "layers", "activation", "bias", "dtype", "data"),
    TRAINING: ("batch", "optimizer", "l2", "update", "accumulate", "policy", "cost", "allocation", "threads"),
    MEMORY: ("memory_limit_bytes",),
    MEASUREMENT: ("steps",),
}
"""By group: the first options, in their order. Each other column stands in the group of its part."""


def _cell_groups() -> dict[str, list[str]]:
    """The options of a cell by group."""
    groups = {group: list(names) for group, names in _FIRST.items()}
    named = {name for names in _FIRST.values() for name in names}
    for column in CELL_COLUMNS:
        if column.name not in named:
            groups[NETWORK if column.part is Part.NETWORK else TRAINING].append(column.name)
    return groups


CELL_GROUPS = _cell_groups()
"""The options of a cell by group, in the order of every help text."""
