"""PyTorch's functions on tensors of the tape: what each allocates, saves and gives back, on the CPU.

The names of functions, autograd functions and saved variables are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from memtrain.engines.functions_arithmetic import add_in_place, elementwise, summed_to
from memtrain.engines.functions_shapes import reshape, unsafe_view, view
from memtrain.engines.history import Gradients
from memtrain.engines.strides import row_order, same_strides
from memtrain.engines.tape import Tensor


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b. ATen makes x a matrix: with a bias before it transposes the weight, and without one after it.

    The order decides which of the two gradients is ready first.
    """
    if len(x.shape) == 2:
        return _linear(x, weight, _t(weight), bias)
    if not same_strides(x.shape, x.strides, row_order(x.shape)):
        return _strided_linear(x, weight, bias)
    shape = (*x.shape[:-1], weight.shape[0])
    if bias is None:
        transposed = _t(weight)
        return unsafe_view(_linear(view(x, -1, x.shape[-1]), weight, transposed, None), *shape)
    return view(_linear(view(x, -1, x.shape[-1]), weight, _t(weight), bias), *shape)


def _strided_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x Wᵀ + b for lists of matrices that are not in row order. Without gradients ATen does not copy x."""
    shape = (*x.shape[:-1], weight.shape[0])
    if weight.requires_grad:
        transposed = _t(weight)
        out = unsafe_view(_linear(reshape(x, -1, x.shape[-1]), weight, transposed, None), *shape)
    else:
        flops = 2 * int(prod(x.shape)) * weight.shape[0]
        out = x.tape.new("bmm", shape, x.dtype, x, weight, flops=flops)
    return out if bias is None else add_in_place(out, bias)


def _linear(x: Tensor, weight: Tensor, transposed: Tensor, bias: Tensor | None) -> Tensor:
    shapes = x.shape, (weight.shape[1], weight.shape[0])

    def rule(g: Tensor, needs: Sequence[bool], **saved: Tensor) -> Gradients:
        for_x = for_weight = None
        weight, x = saved.get("mat2"), saved.get(first)
        if bias_shape is not None and weight is not None:  # addmm begins with x, and mm with the weight
            for_x = g.tape.new("mm", shapes[0], g.dtype, g, weight, flops=flops)
        if x is not None:  # PyTorch computes the transpose of it, and transposes that
            product = g.tape.new("mm", shapes[1][::-1], g.dtype, g, x, flops=flops)
            for_weight = product.view_of(shapes[1], product.strides[::-1])
        if bias_shape is None and weight is not None:
            for_x = g.tape.new("mm", shapes[0], g.dtype, g, weight, flops=flops)
        if bias_shape is not None:
            yield summed_to(g, bias_shape) if needs[0] else None
        yield for_x
        yield for_weight

    flops = 2 * int(prod(x.shape)) * weight.shape[0]
    bias_shape = None if bias is None else bias.shape
    first = "self" if bias is None else "mat1"
    saved = {first: x} if weight.requires_grad else {}
    if x.requires_grad:
        saved["mat2"] = transposed
    inputs = (x, transposed) if bias is None else (bias, x, transposed)
    name = "mm" if bias is None else "addmm"
    out = x.tape.new(name, (x.shape[0], weight.shape[0]), x.dtype, *inputs, flops=flops)
    return x.tape.record(out, f"{name.capitalize()}Backward0", inputs, saved, rule)


def _t(weight: Tensor) -> Tensor:
    """The transpose of a matrix: a view."""

    def rule(g: Tensor, needs: Sequence[bool]) -> Gradients:
        yield g.view_of(g.shape[::-1], g.strides[::-1])

    view = weight.view_of(weight.shape[::-1], weight.strides[::-1])
    return weight.tape.record(view, "TBackward0", (weight,), {}, rule)


def _of_result(x: Tensor, name: str, function: str, backward: str, inplace: bool = False) -> Tensor:
    """An activation whose backward reads its result."""

    def rule(g: Tensor, needs: Sequence[bool], result: Tensor) -> Gradients:
        yield elementwise(backward, g, result)

    out = _overwritten(name, x) if inplace else elementwise(name, x)
    return x.tape.record(out, function, (x,), {"result": out}, rule)


def _of_input(x: Tensor, name: str, function: str, inplace: bool = False) -> Tensor:
    """An activation whose backward reads its input, which PyTorch calls ``self``.

    In place PyTorch saves a copy of the input, and so the activation saves no memory.
    """

    def rule(g: Tensor, needs: Sequence[bool], **saved: Tensor) -> Gradients:
        yield elementwise(f"{name}_backward", g, saved["self"])

    saved = {"self": x}
    if inplace and x.requires_grad and x.tape.recording:
        saved["self"] = elementwise("clone", x)
    out = _overwritten(name, x) if inplace else elementwise(name, x)
    return x.tape.record(out, function, (x,), saved, rule)


def _overwritten(name: str, x: Tensor) -> Tensor:
    x.tape.write(f"{name}_", x)
    return x


def relu(x: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)."""
    return _of_result(x, "relu", "ReluBackward0", "threshold_backward", inplace)


def tanh(x: Tensor) -> Tensor:
    """tanh(x)."""
    return _of_result(x, "tanh", "TanhBackward0", "tanh_backward")


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(−x))."""
    return _of_result(x, "sigmoid", "SigmoidBackward0", "sigmoid_backward")


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """The GELU, exact or by tanh."""
    return _of_input(x, "gelu", "GeluBackward0")


def leaky_relu(x: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0.01 x)."""
    if inplace:
        return _of_result(x, "leaky_relu", "LeakyReluBackward1", "leaky_relu_backward", True)
    return _of_input(x, "leaky_relu", "LeakyReluBackward0")


def elu(x: Tensor, inplace: bool = False) -> Tensor:
    """x where x > 0, else exp(x) − 1."""
    if inplace:
        return _of_result(x, "elu", "EluBackward1", "elu_backward", True)
    return _of_input(x, "elu", "EluBackward0")


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x))."""
    return _of_input(x, "softplus", "SoftplusBackward0")


def silu(x: Tensor, inplace: bool = False) -> Tensor:
    """x · sigmoid(x)."""
    return _of_input(x, "silu", "SiluBackward0", inplace)


def hardswish(x: Tensor, inplace: bool = False) -> Tensor:
    """x · min(max(x + 3, 0), 6) / 6."""
    return _of_input(x, "hardswish", "HardswishBackward0", inplace)


def mish(x: Tensor, inplace: bool = False) -> Tensor:
    """x · tanh(softplus(x))."""
    return _of_input(x, "mish", "MishBackward0", inplace)


def cross_entropy(x: Tensor, target: Tensor) -> Tensor:
    """The mean cross-entropy of rows of logits: a log-softmax, and the loss of its rows."""

    def rule(g: Tensor, needs: Sequence[bool], result: Tensor) -> Gradients:
        yield g.tape.new("_log_softmax_backward_data", g.shape, g.dtype, g, result)

    logs = x.tape.new("_log_softmax", x.shape, x.dtype, x)
    logs = x.tape.record(logs, "LogSoftmaxBackward0", (x,), {"result": logs}, rule)
    return nll_loss(logs, target)


def nll_loss(x: Tensor, target: Tensor) -> Tensor:
    """The mean of −x at the targets. PyTorch saves the count of targets as a tensor."""
    shape = x.shape

    def rule(g: Tensor, needs: Sequence[bool], **saved: Tensor) -> Gradients:
        yield g.tape.new("nll_loss_backward", shape, g.dtype, g, *saved.values())

    out = x.tape.new("nll_loss_forward", (), x.dtype, x, target)
    total_weight = x.tape.new("nll_loss_forward", (), x.dtype, target)
    saved = {"self": x, "target": target, "total_weight": total_weight}
    return x.tape.record(out, "NllLossBackward0", (x,), saved, rule)


def mse_loss(x: Tensor, target: Tensor) -> Tensor:
    """The mean of (x − target)². The storage of the mean has room for all squares."""

    def rule(g: Tensor, needs: Sequence[bool], **saved: Tensor) -> Gradients:
        yield g.tape.new("mse_loss_backward", saved["self"].shape, g.dtype, g, *saved.values())

    out = x.tape.new("mse_loss", x.shape, x.dtype, x, target).viewed(())
    return x.tape.record(out, "MseLossBackward0", (x,), {"self": x, "target": target}, rule)
