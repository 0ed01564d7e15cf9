"""PyTorch's embedding, norms and dropout on tensors of the tape, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

from memtrain.engines.functions_arithmetic import elementwise, multiply
from memtrain.engines.history import Gradients
from memtrain.engines.tape import Tensor


def embedding(tokens: Tensor, weight: Tensor) -> Tensor:
    """The rows of ``weight`` for tokens."""
    shape = weight.shape

    def rule(g: Tensor, needs: Sequence[bool], indices: Tensor) -> Gradients:
        yield g.tape.new("embedding_dense_backward", shape, g.dtype, g, indices)

    out = weight.tape.new("embedding", (*tokens.shape, shape[1]), weight.dtype, weight, tokens)
    return weight.tape.record(out, "EmbeddingBackward0", (weight,), {"indices": tokens}, rule)


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """``x`` with some values set to zero. On the CPU the mask has the type of ``x``, and is a factor."""
    if not p or not training:
        return x
    noise = elementwise("empty_like", x)
    x.tape.write("bernoulli_", noise)
    x.tape.write("div_", noise)
    return multiply(x, noise)


def layer_norm(x: Tensor, size: Sequence[int], weight: Tensor, bias: Tensor) -> Tensor:
    """The layer norm over the last axis. It saves the mean and the inverse deviation of each row."""
    shapes = x.shape, weight.shape, bias.shape

    def rule(g: Tensor, needs: Sequence[bool], **saved: Tensor) -> Gradients:
        reads = (g, *saved.values())
        yield from [g.tape.new("native_layer_norm_backward", shape, g.dtype, *reads) for shape in shapes]

    name, rows = "native_layer_norm", (*x.shape[:-1], 1)
    out = x.tape.new(name, x.shape, x.dtype, x, weight, bias)
    mean, deviation = (x.tape.new(name, rows, x.dtype, x) for _ in range(2))
    saved = {"input": x, "weight": weight, "bias": bias, "result1": mean, "result2": deviation}
    return x.tape.record(out, "NativeLayerNormBackward0", (x, weight, bias), saved, rule)


def rms_norm(x: Tensor, size: Sequence[int], weight: Tensor, eps: float) -> Tensor:
    """The RMS norm over the last axis. On the CPU it consists of five functions, all of which save."""
    root = _inverse_root(x)  # PyTorch frees it with the result of the first product
    return multiply(multiply(x, root), weight)


def _inverse_root(x: Tensor) -> Tensor:
    """1/√(mean of squares + ε) of each row."""
    squares = _square(x)  # PyTorch frees them after the root exists
    mean = _row_mean(squares)
    mean.tape.write("add_", mean)

    def rule(g: Tensor, needs: Sequence[bool], result: Tensor) -> Gradients:
        cube, half = elementwise("pow", result), elementwise("mul", g)
        yield elementwise("mul", half, cube)

    out = elementwise("rsqrt", mean)
    return mean.tape.record(out, "RsqrtBackward0", (mean,), {"result": out}, rule)


def _square(x: Tensor) -> Tensor:
    def rule(g: Tensor, needs: Sequence[bool], **saved: Tensor) -> Gradients:
        power = elementwise("pow", saved["self"])
        twice = elementwise("mul", power)
        yield elementwise("mul", g, twice)

    return x.tape.record(elementwise("pow", x), "PowBackward0", (x,), {"self": x}, rule)


def _row_mean(x: Tensor) -> Tensor:
    shape = x.shape

    def rule(g: Tensor, needs: Sequence[bool]) -> Gradients:
        yield g.tape.new("div", shape, g.dtype, g)

    out = x.tape.new("mean", (*x.shape[:-1], 1), x.dtype, x)
    return x.tape.record(out, "MeanBackward1", (x,), {}, rule)
