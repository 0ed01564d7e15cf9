"""The engines, and what a cell of the engine torch may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memtrain.cells.columns import ENGINES
from memtrain.engines.activations import IN_PLACE
from memtrain.engines.networks import OUTPUTS
from memtrain.errors import SpecError
from memtrain.planning.remat.policy import NONE
from memtrain.run.allocation import FRESH
from memtrain.training.iteration import DEFERRED

if TYPE_CHECKING:
    from memtrain.cells.cell import Cell

NUMPY, TORCH = ENGINES

_ALLOWED: dict[str, tuple[Any, ...]] = {
    "policy": (NONE,),
    "update": (DEFERRED,),
    "allocation": ("auto", FRESH),
}
"""The values of columns that a cell of the engine torch may have."""

OF_PYTORCH = {
    "foreach": "PyTorch's optimisers",
    "fused": "PyTorch's optimisers",
    "inplace": "PyTorch's activations",
}
"""The columns that only the engine torch has, all of them true or false, and what they are options of."""

_IN_PLACE_FAMILIES = ("mlp", "lenet", "cnn", "resnet")


def check_engine(cell: Cell) -> None:
    """Raise ``SpecError`` for what the engine of a cell does not do."""
    if cell.engine == NUMPY:
        for name, of in OF_PYTORCH.items():
            if getattr(cell, name):
                raise SpecError(f"{name} is an option of {of}", "add --engine torch, or drop it")
        return
    if cell.network.family not in OUTPUTS:
        known = ", ".join(OUTPUTS)
        raise SpecError(
            f"the engine {cell.engine} has no network of the family {cell.network.family}", f"it has {known}"
        )
    for name, allowed in _ALLOWED.items():
        if getattr(cell, name) not in allowed:
            raise SpecError(
                f"the engine {cell.engine} has no {name} {getattr(cell, name)}",
                "drop the option, or use --engine numpy",
            )
    if cell.foreach and cell.fused:
        raise SpecError("an optimiser of PyTorch is either foreach or fused", "drop one of the two")
    if cell.inplace:
        _check_in_place(cell)


def _check_in_place(cell: Cell) -> None:
    """Raise ``SpecError`` for a network whose activations cannot overwrite their inputs."""
    if cell.network.family not in _IN_PLACE_FAMILIES:
        raise SpecError(
            f"inplace is not known for a network of the family {cell.network.family}",
            f"drop it; it is known for {', '.join(_IN_PLACE_FAMILIES)}",
        )
    if cell["activation"] not in IN_PLACE:
        raise SpecError(
            f"PyTorch's module of {cell['activation']} has no inplace",
            f"drop it, or use one of {', '.join(IN_PLACE)}",
        )
