"""The loop in which a user of PyTorch trains: the choices that change what an iteration allocates."""

from __future__ import annotations

from typing import NamedTuple

from memtrain.training.keeping import NOTHING, Keeping


class Loop(NamedTuple):
    """What the user writes. Inference has a loop as well, of which only ``inplace`` matters."""

    optimizer: str
    foreach: bool = False
    """The optimiser works on lists of all parameters."""
    fused: bool = False
    """The optimiser makes its step in one kernel, without temporaries."""
    inplace: bool = False
    """Activations overwrite their inputs."""
    accumulate: int = 1
    """The micro-batches of a batch. Each runs forward and backward, and their gradients are added up."""
    keeping: Keeping = NOTHING
