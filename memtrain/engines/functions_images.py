"""PyTorch's functions on images (n, channels, rows, columns): convolutions, norms and pools."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from memtrain.engines.history import Gradients
from memtrain.engines.tape import Tensor
from memtrain.errors import SpecError
from memtrain.graph.node import Shape
from memtrain.graph.ops.window import Window, as_pair

_INDEX = np.dtype(np.int64)
"""The type of the places that a max-pool returns."""


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
) -> Tensor:
    """The convolution of images with kernels (outputs, channels, rows, columns)."""
    rows, columns = weight.shape[2:]
    window = Window((rows, columns), as_pair(stride), as_pair(padding))
    sizes = x.shape, weight.shape, weight.shape[:1]

    def rule(g: Tensor, needs: Sequence[bool], **saved: Tensor) -> Gradients:
        for shape, needed in zip(sizes, needs, strict=False):
            reads = g, *saved.values()
            product_flops = flops if len(shape) == 4 else 0
            yield (
                g.tape.new("convolution_backward", shape, g.dtype, *reads, flops=product_flops)
                if needed
                else None
            )

    inputs = (x, weight) if bias is None else (x, weight, bias)
    shape = (x.shape[0], weight.shape[0], *window.positions(*x.shape[2:]))
    flops = 2 * prod(map(int, shape)) * prod(map(int, weight.shape[1:]))
    out = x.tape.new("convolution", shape, x.dtype, *inputs, flops=flops)
    return x.tape.record(out, "ConvolutionBackward0", inputs, {"input": x, "weight": weight}, rule)


def batch_norm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor,
    bias: Tensor,
    training: bool = False,
) -> Tensor:
    """The norm of each channel. In training it uses the batch, and updates the running statistics.

    Raises ``SpecError`` where PyTorch refuses to train: if a channel has a single value.
    """
    if training:
        _check_values(prod(x.shape) // x.shape[1], "train", "batch norm", "channel")
    running = {"running_mean": running_mean, "running_var": running_var}
    return _normalised(x, weight, bias, "native_batch_norm", weight.shape if training else None, running)


def group_norm(x: Tensor, num_groups: int, weight: Tensor, bias: Tensor) -> Tensor:
    """The norm of each example over all pixels and the channels of a group.

    Raises ``SpecError`` where PyTorch refuses it: if a group has a single value in the whole batch.
    """
    _check_values(prod(x.shape) // num_groups, "compute", "group norm", "group")
    return _normalised(x, weight, bias, "native_group_norm", (x.shape[0], num_groups), {})


def _check_values(count: int, verb: str, norm: str, part: str) -> None:
    if count == 1:
        raise SpecError(
            f"PyTorch does not {verb} a {norm} with one value per {part}", "use a larger batch or image"
        )


def _normalised(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    name: str,
    statistics: Shape | None,
    running: dict[str, Tensor],
) -> Tensor:
    """A norm. It saves its input and its two statistics, if it makes any."""
    sizes = x.shape, weight.shape, bias.shape

    def rule(g: Tensor, needs: Sequence[bool], **saved: Tensor) -> Gradients:
        for shape, needed in zip(sizes, needs, strict=True):
            yield g.tape.new(f"{name}_backward", shape, g.dtype, g, *saved.values()) if needed else None

    out = x.tape.new(name, x.shape, x.dtype, x, weight, bias, *running.values())
    saved = {"input": x, "weight": weight, **running}
    if statistics is not None:
        made = {f"result{k}": x.tape.new(name, statistics, x.dtype, x) for k in (1, 2)}
        for value, statistic in zip(running.values(), made.values(), strict=False):
            x.tape.write(name, value, statistic)
        saved |= made
    function = "".join(word.capitalize() for word in name.split("_")) + "Backward0"
    return x.tape.record(out, function, (x, weight, bias), saved, rule)


def avg_pool2d(x: Tensor, kernel_size: int) -> Tensor:
    """The mean of each window. Autograd saves the images, though backward reads only their shape."""

    def rule(g: Tensor, needs: Sequence[bool], **saved: Tensor) -> Gradients:
        (images,) = saved.values()
        yield g.tape.new("avg_pool2d_backward", images.shape, g.dtype, g, images)

    out = x.tape.new("avg_pool2d", _pooled(x, kernel_size), x.dtype, x)
    return x.tape.record(out, "AvgPool2DBackward0", (x,), {"self": x}, rule)


def max_pool2d(x: Tensor, kernel_size: int) -> Tensor:
    """The maximum of each window. The place of each is made too, also in inference."""

    def rule(g: Tensor, needs: Sequence[bool], **saved: Tensor) -> Gradients:
        name = "max_pool2d_with_indices_backward"
        yield g.tape.new(name, saved["self"].shape, g.dtype, g, *saved.values())

    shape = _pooled(x, kernel_size)
    out = x.tape.new("max_pool2d_with_indices", shape, x.dtype, x)
    places = x.tape.new("max_pool2d_with_indices", shape, _INDEX, x)
    saved = {"self": x, "result1": places}
    return x.tape.record(out, "MaxPool2DWithIndicesBackward0", (x,), saved, rule)


def _pooled(x: Tensor, size: int) -> Shape:
    """The shape of images after a pool with windows that do not overlap."""
    window = Window(as_pair(size), as_pair(size), as_pair(0))
    return (*x.shape[:2], *window.positions(*x.shape[2:]))
