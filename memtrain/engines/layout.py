"""Where PyTorch has the axes of a value: the channels of images and kernels come second, ours last."""

from __future__ import annotations

import numpy as np

from memtrain.graph.node import Shape
from memtrain.graph.ops.base import Array
from memtrain.models.network import FeedKind, Network


def torch_shape(shape: Shape) -> Shape:
    """A shape of memtrain with its axes in PyTorch's order."""
    return (shape[0], shape[3], *shape[1:3]) if len(shape) == 4 else shape


class Layout:
    """Moves the values of a network's parameters and images from memtrain's order of axes to PyTorch's.

    A weight that reads flattened images has their pixels on one axis, in another order too.
    """

    def __init__(self, network: Network) -> None:
        self._images = _flattened(network)

    def copy_in(self, name: str, value: Array, target: Array) -> None:
        """Copy ``value`` into ``target``, the array of PyTorch's tensor."""
        if name in self._images:
            outputs, rows, columns, channels = self._images[name]
            value = value.reshape(outputs, rows, columns, channels)
            target = target.reshape(outputs, channels, rows, columns)
        target[...] = np.moveaxis(value, 3, 1) if value.ndim == 4 else value

    def taken_out(self, name: str, value: Array) -> Array:
        """``value``, the array of PyTorch's tensor, with its axes in memtrain's order."""
        if name in self._images:
            outputs, rows, columns, channels = self._images[name]
            images = value.reshape(outputs, channels, rows, columns)
            return np.moveaxis(images, 1, 3).reshape(value.shape)
        return np.moveaxis(value, 1, 3) if value.ndim == 4 else value


def _flattened(network: Network) -> dict[str, Shape]:
    """By name of each weight that reads flattened images: its outputs, and the sizes of the images."""
    if network.reads is not FeedKind.IMAGE:
        return {}
    model = network.build(1)
    nodes, weights = model.builder.nodes, {node.id: node for node in model.parameters}
    found: dict[str, Shape] = {}
    for node in nodes:
        if len(node.inputs) == 2 and node.inputs[1] in weights and nodes[node.inputs[0]].op.is_view:
            weight, images = weights[node.inputs[1]], nodes[nodes[node.inputs[0]].inputs[0]]
            if len(images.shape) == 4 and len(weight.shape) == 2:
                found[weight.name] = (weight.shape[0], *images.shape[1:])
    return found
