"""The schedules of PyTorch: an iteration of training, and inference, recorded without running PyTorch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from memtrain.engines import (
    functions,
    functions_attention,
    functions_images,
    functions_layers,
    functions_shapes,
)
from memtrain.engines.autograd import backward
from memtrain.engines.groups import decays
from memtrain.engines.history import Saved
from memtrain.engines.layout import torch_shape
from memtrain.engines.methods import MethodTensor
from memtrain.engines.networks import loss, output
from memtrain.engines.optimizers import Group, state_of, update
from memtrain.engines.tape import Tape, Tensor
from memtrain.graph.builder import no_collection
from memtrain.graph.node import Phase, Role
from memtrain.models.network import Network
from memtrain.planning.schedule import Schedule

_FUNCTIONS = {
    name: value
    for module in (functions_shapes, functions_attention, functions_layers, functions_images, functions)
    for name, value in vars(module).items()
}
"""The functions of the tape by their names in PyTorch."""


class Recorded(NamedTuple):
    """A schedule of PyTorch, and what its autograd saves."""

    schedule: Schedule
    saved: tuple[Saved, ...]


@no_collection()
def training(network: Network, batch: int, optimizer: str, *, foreach: bool = False) -> Recorded:
    """An iteration: gradients set to none, forward, backward, and the step of the optimiser."""
    tape = Tape(MethodTensor)
    f, parameters, x, y = _start(tape, network, batch, trained=True)
    trained = [name for name, value in parameters.items() if value.requires_grad]
    tensors = [parameters[name] for name in trained]
    states = {
        id(t): state for t, state in zip(tensors, state_of(tape, optimizer, tensors, trained), strict=True)
    }
    groups = [Group([parameters[name] for name in names], decay) for names, decay in decays(network, trained)]
    found = loss(network, f, output(network, f, parameters, x), y)
    with tape.phase(Phase.BACKWARD):
        backward(found)
    with tape.phase(Phase.UPDATE):
        update(optimizer, groups, states, foreach)
    return Recorded(tape.schedule([found]), tuple(tape.saved))


@no_collection()
def inference(network: Network, batch: int) -> Recorded:
    """Forward without gradients, up to the output."""
    tape = Tape(MethodTensor)
    tape.recording = False
    f, parameters, x, _ = _start(tape, network, batch, trained=False)
    return Recorded(tape.schedule([output(network, f, parameters, x)]), ())


def _start(
    tape: Tape, network: Network, batch: int, *, trained: bool
) -> tuple[SimpleNamespace, dict[str, Tensor], Tensor, Tensor | None]:
    """The functions of the tape, the parameters by name, and the batch."""
    model = network.build(batch)
    learned = {node.name for node in model.trainable} if trained else set()
    parameters = {
        node.name: tape.leaf(
            Role.PARAMETER, node.name, torch_shape(node.shape), node.dtype, trained=node.name in learned
        )
        for node in model.parameters
    }
    x, y = model.feeds[:2]
    given = tape.leaf(Role.INPUT, x.name, torch_shape(x.shape), x.dtype)
    target = tape.leaf(Role.INPUT, y.name, y.shape, y.dtype) if trained else None
    f = SimpleNamespace(**_FUNCTIONS, bool=np.dtype(bool), block=tape.block, training=trained)
    return f, parameters, given, target
