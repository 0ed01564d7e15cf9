"""The form of a forward graph in inference, and the effects that belong to forward in training.

Training and inference of the same network differ here and nowhere else: a running statistic stands for the
statistic of a batch, a dropout vanishes, and no statistic is tracked.
"""

from __future__ import annotations

from collections.abc import Sequence

from memtrain.graph.builder import Builder
from memtrain.graph.node import Node


def effects(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes that track statistics. A schedule of training asks for them, too."""
    return tuple(node for node in nodes if node.op.tracks)


def inference_form(b: Builder, outputs: Sequence[Node]) -> tuple[Builder, tuple[Node, ...]]:
    """A graph that computes ``outputs`` as in inference, and its outputs.

    A graph without any difference between training and inference is returned as it is.
    """
    tracked = {node.inputs[1]: node.inputs[0] for node in effects(b.nodes)}
    known: dict[int, Node] = {}
    form, differs = Builder(), False
    for node in b.nodes:
        if node.op.tracks:
            continue
        if node.id in tracked:
            known[node.id] = known[tracked[node.id]]
            differs = True
            continue
        inputs = [known[i] for i in node.inputs if i in known]
        if len(inputs) < len(node.inputs):
            continue
        form.scope = node.scope
        stands = node.op.inference(form, *inputs)
        differs |= stands is not None
        known[node.id] = stands or form.apply(node.op, *inputs, name=node.name, label=node.label)
    if not differs:
        return b, tuple(outputs)
    form.scope = ()
    return form, tuple(known[node.id] for node in outputs)
