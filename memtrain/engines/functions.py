"""PyTorch's functions on tensors of the tape: what each allocates, saves and gives back, on the CPU.

The names of functions, autograd functions and saved variables are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Sequence

from memtrain.engines.tape import Gradients, Tensor


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b for a matrix x."""
    shape = (*x.shape[:-1], weight.shape[0])
    sizes = x.shape, weight.shape

    def rule(
        g: Tensor, needs: Sequence[bool], mat1: Tensor | None = None, mat2: Tensor | None = None
    ) -> Gradients:
        made: dict[int, Tensor] = {}
        others = mat2, mat1  # the gradient of each input reads the other one
        for k in (0, 1) if len(needs) == 3 else (1, 0):  # without a bias, that of the weight is made first
            other = others[k]
            if other is not None:
                made[k] = g.tape.new("mm", sizes[k], g.dtype, g, other)
        yield made.get(0)
        yield made.get(1)
        if len(needs) == 3:
            yield g.tape.new("sum", sizes[1][:1], g.dtype, g) if needs[2] else None

    saved = {"mat1": x} if weight.requires_grad else {}
    if x.requires_grad:
        saved["mat2"] = weight
    inputs = (x, weight) if bias is None else (x, weight, bias)
    name = "mm" if bias is None else "addmm"
    out = x.tape.new(name, shape, x.dtype, *inputs)
    return x.tape.record(out, f"{name.capitalize()}Backward0", inputs, saved, rule)


def _of_result(x: Tensor, name: str, function: str, backward: str) -> Tensor:
    """An activation whose backward reads its result."""

    def rule(g: Tensor, needs: Sequence[bool], result: Tensor) -> Gradients:
        yield g.tape.new(backward, g.shape, g.dtype, g, result)

    out = x.tape.new(name, x.shape, x.dtype, x)
    return x.tape.record(out, function, (x,), {"result": out}, rule)


def _of_input(x: Tensor, name: str, function: str) -> Tensor:
    """An activation whose backward reads its input. PyTorch calls the input ``self``."""

    def rule(g: Tensor, needs: Sequence[bool], **saved: Tensor) -> Gradients:
        yield g.tape.new(f"{name}_backward", g.shape, g.dtype, g, saved["self"])

    out = x.tape.new(name, x.shape, x.dtype, x)
    return x.tape.record(out, function, (x,), {"self": x}, rule)


def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return _of_result(x, "relu", "ReluBackward0", "threshold_backward")


def tanh(x: Tensor) -> Tensor:
    """tanh(x)."""
    return _of_result(x, "tanh", "TanhBackward0", "tanh_backward")


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(−x))."""
    return _of_result(x, "sigmoid", "SigmoidBackward0", "sigmoid_backward")


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """The GELU, exact or by tanh."""
    return _of_input(x, "gelu", "GeluBackward0")


def leaky_relu(x: Tensor) -> Tensor:
    """max(x, 0.01 x)."""
    return _of_input(x, "leaky_relu", "LeakyReluBackward0")


def elu(x: Tensor) -> Tensor:
    """x where x > 0, else exp(x) − 1."""
    return _of_input(x, "elu", "EluBackward0")


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x))."""
    return _of_input(x, "softplus", "SoftplusBackward0")


def silu(x: Tensor) -> Tensor:
    """x · sigmoid(x)."""
    return _of_input(x, "silu", "SiluBackward0")


def hardswish(x: Tensor) -> Tensor:
    """x · min(max(x + 3, 0), 6) / 6."""
    return _of_input(x, "hardswish", "HardswishBackward0")


def mish(x: Tensor) -> Tensor:
    """x · tanh(softplus(x))."""
    return _of_input(x, "mish", "MishBackward0")


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
