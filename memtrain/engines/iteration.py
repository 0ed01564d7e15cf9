"""The schedules of PyTorch: an iteration of training, and inference, recorded without running PyTorch."""

from __future__ import annotations

from contextlib import nullcontext
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
from memtrain.engines.functions_arithmetic import divide
from memtrain.engines.groups import decays
from memtrain.engines.history import Saved
from memtrain.engines.layout import torch_shape
from memtrain.engines.loop import Loop
from memtrain.engines.methods import MethodTensor
from memtrain.engines.networks import loss, output
from memtrain.engines.optimizers import Group, state_of, update
from memtrain.engines.tape import Tape, Tensor
from memtrain.graph.builder import no_collection
from memtrain.graph.node import Phase, Role
from memtrain.graph.size import part
from memtrain.models.network import Network
from memtrain.planning.schedule import Schedule
from memtrain.training.iteration import MICRO_BATCH
from memtrain.training.keeping import AFTER_UPDATE, KEPT

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
def training(network: Network, batch: int, loop: Loop, *, first: bool = False) -> Recorded:
    """An iteration: forward, backward, and the step of the optimiser.

    The ``first`` iteration begins without state of the optimiser and without gradients.
    """
    tape = Tape(MethodTensor)
    f, parameters, x, y = _start(tape, network, batch, loop, with_targets=True)
    trained = [name for name, value in parameters.items() if value.requires_grad]
    tensors = [parameters[name] for name in trained]
    held = [] if first else state_of(tape, loop.optimizer, tensors, trained)
    states = {id(t): state for t, state in zip(tensors, held, strict=False)}
    if loop.keeping.gradients == KEPT and not first:
        for name, t in zip(trained, tensors, strict=True):
            t.grad = tape.leaf(Role.GRADIENT, f"gradient of {name}", t.shape, t.dtype)
            tape.write("zero_", t.grad)
    groups = [Group([parameters[name] for name in names], decay) for names, decay in decays(network, trained)]
    for number in range(loop.accumulate):
        with tape.block(MICRO_BATCH, number + 1) if loop.accumulate > 1 else nullcontext():
            given, target = (_rows(feed, loop.accumulate) for feed in (x, y))
            found = loss(network, f, output(network, f, parameters, given), target)
            if loop.accumulate > 1:
                found = divide(found)
            with tape.phase(Phase.BACKWARD):
                backward(found, retain_graph=loop.keeping.retain_graph)
    with tape.phase(Phase.UPDATE):
        update(loop, groups, states)
        if loop.keeping.gradients == AFTER_UPDATE:
            for t in tensors:
                t.grad = None
    return Recorded(tape.schedule([found]), tuple(tape.saved))


def _rows(feed: Tensor, count: int) -> Tensor:
    """A view of as many rows of a feed as one of ``count`` micro-batches has."""
    if count == 1:
        return feed
    return feed.view_of((part(feed.shape[0], count), *feed.shape[1:]), feed.strides)


@no_collection()
def inference(network: Network, batch: int, loop: Loop, *, with_history: bool = False) -> Recorded:
    """Forward of the network in eval mode, up to the output.

    ``with_history`` is forward without ``torch.no_grad``: the output holds all that backward would read.
    """
    tape = Tape(MethodTensor)
    tape.recording = with_history
    f, parameters, x, _ = _start(tape, network, batch, loop, with_targets=False)
    found = output(network, f, parameters, x)
    return Recorded(tape.schedule([found], held=[saved.node for saved in tape.saved]), tuple(tape.saved))


def _start(
    tape: Tape, network: Network, batch: int, loop: Loop, *, with_targets: bool
) -> tuple[SimpleNamespace, dict[str, Tensor], Tensor, Tensor]:
    """The functions of the tape, the parameters by name, and the batch: inputs, and targets if wanted."""
    model = network.build(batch)
    learned = {node.name for node in model.trainable}
    parameters = {
        node.name: tape.leaf(
            Role.PARAMETER, node.name, torch_shape(node.shape), node.dtype, trained=node.name in learned
        )
        for node in model.parameters
    }
    x, y = model.feeds[:2]
    given = tape.leaf(Role.INPUT, x.name, torch_shape(x.shape), x.dtype)
    target = tape.leaf(Role.INPUT, y.name, y.shape, y.dtype) if with_targets else given
    f = SimpleNamespace(
        **_FUNCTIONS, bool=np.dtype(bool), block=tape.block, training=with_targets, inplace=loop.inplace
    )
    return f, parameters, given, target
