"""The engines, and what their cells may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memtrain.cells.columns import BY_NAME, ENGINES
from memtrain.engines.activations import IN_PLACE
from memtrain.engines.networks import OUTPUTS
from memtrain.errors import SpecError
from memtrain.models.network import NOTHING
from memtrain.planning.remat.policy import NONE
from memtrain.run.allocation import FRESH
from memtrain.training.iteration import DEFERRED
from memtrain.training.keeping import AFTER_UPDATE

if TYPE_CHECKING:
    from memtrain.cells.cell import Cell

NUMPY, TORCH, JAX = ENGINES

_OF_BOTH: dict[str, tuple[Any, ...]] = {
    "policy": (NONE,),
    "update": (DEFERRED,),
    "allocation": ("auto", FRESH),
}
_ALLOWED: dict[str, dict[str, tuple[Any, ...]]] = {
    TORCH: _OF_BOTH,
    JAX: {
        **_OF_BOTH,
        "accumulate": (1,),
        "gradients": (AFTER_UPDATE,),
        "retain_graph": (False,),
        "freeze": (NOTHING,),
    },
}
"""By engine: the values of columns that its cells may have."""

_FAMILIES = {TORCH: tuple(OUTPUTS), JAX: ("mlp",)}

OF_PYTORCH = {
    "foreach": "PyTorch's optimisers",
    "fused": "PyTorch's optimisers",
    "inplace": "PyTorch's activations",
}
"""The columns that only the engine torch has, all of them true or false, and what they are options of."""

NO_HISTORY = "JAX keeps nothing for gradients in inference", "use --mode both"
"""Why JAX has no inference with gradients on, and what to do."""

_IN_PLACE_FAMILIES = ("mlp", "lenet", "cnn", "resnet")


def check_predicted(cell: Cell) -> None:
    """Raise ``SpecError`` for a cell of JAX, for which nothing is predicted. Only a sweep can have one."""
    if cell.engine == JAX:
        raise SpecError(
            "the engine jax is only measured: its compiler decides what is kept",
            "use it in a sweep, or use another engine",
        )


def check_engine(cell: Cell) -> None:
    """Raise ``SpecError`` for what the engine of a cell does not do."""
    if cell.engine != TORCH:
        for name, of in OF_PYTORCH.items():
            if getattr(cell, name):
                raise SpecError(f"{name} is an option of {of}", "add --engine torch, or drop it")
    if cell.engine == NUMPY:
        return
    if cell.network.family not in _FAMILIES[cell.engine]:
        known = ", ".join(_FAMILIES[cell.engine])
        raise SpecError(
            f"the engine {cell.engine} has no network of the family {cell.network.family}", f"it has {known}"
        )
    for name, allowed in _ALLOWED[cell.engine].items():
        if cell[name] not in allowed:
            given = "" if cell[name] is True else f" {cell[name]}"
            raise SpecError(
                f"the engine {cell.engine} has no {BY_NAME[name].option}{given}",
                "drop the option, or use --engine numpy",
            )
    if cell.engine == JAX and cell.memory_limit_bytes is not None:
        raise SpecError(
            "the engine jax is only measured, and without a memory limit",
            "use it in a sweep without --memory, or use another engine",
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
