"""PyTorch's functions of attention on tensors of the tape, on the CPU: products of matrices, and softmax."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from memtrain.engines.functions_shapes import reshape, unsafe_view
from memtrain.engines.history import Gradients
from memtrain.engines.tape import Tensor
from memtrain.graph.size import product


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """The products of the matrices in ``x`` and ``y``, which have the same leading axes.

    ATen flattens these axes. An operand whose elements lie in another order is copied for it.
    """
    leading, count = x.shape[:-2], product(x.shape[:-2])
    x = reshape(x, count, *x.shape[-2:])
    y = reshape(y, count, *y.shape[-2:])
    return unsafe_view(bmm(x, y), *leading, x.shape[-2], y.shape[-1])


def bmm(x: Tensor, y: Tensor) -> Tensor:
    """The products of ``x`` and ``y``, which are lists of matrices."""
    shapes = x.shape, y.shape

    def rule(g: Tensor, needs: Sequence[bool], **saved: Tensor) -> Gradients:
        for_x = for_y = None
        if needs[1]:
            for_y = g.tape.new("bmm", shapes[1], g.dtype, g, saved["self"], flops=flops)
        if needs[0]:
            for_x = g.tape.new("bmm", shapes[0], g.dtype, g, saved["mat2"], flops=flops)
        yield for_x
        yield for_y

    saved = {"mat2": y} if x.requires_grad else {}
    if y.requires_grad:
        saved["self"] = x
    flops = 2 * prod(map(int, x.shape)) * int(y.shape[2])
    out = x.tape.new("bmm", (*x.shape[:2], y.shape[2]), x.dtype, x, y, flops=flops)
    return x.tape.record(out, "BmmBackward0", (x, y), saved, rule)


def masked_fill(x: Tensor, mask: Tensor, value: float) -> Tensor:
    """``x``, with ``value`` where the mask is true."""

    def rule(g: Tensor, needs: Sequence[bool], mask: Tensor) -> Gradients:
        yield g.tape.new("masked_fill", g.shape, g.dtype, g, mask)

    out = x.tape.new("masked_fill", x.shape, x.dtype, x, mask)
    return x.tape.record(out, "MaskedFillBackward0", (x,), {"mask": mask}, rule)


def softmax(x: Tensor, dim: int) -> Tensor:
    """The softmax along an axis."""

    def rule(g: Tensor, needs: Sequence[bool], result: Tensor) -> Gradients:
        yield g.tape.new("_softmax_backward_data", g.shape, g.dtype, g, result)

    out = x.tape.new("_softmax", x.shape, x.dtype, x)
    return x.tape.record(out, "SoftmaxBackward0", (x,), {"result": out}, rule)


def scaled_dot_product_attention(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
    """Attention in blocks. Its results, and all gradients, lie in the order (n, t, heads, values)."""
    inputs = {"query": q, "key": k, "value": v}
    shapes = [x.shape for x in inputs.values()]

    def rule(g: Tensor, needs: Sequence[bool], **saved: Tensor) -> Gradients:
        reads = (g, *saved.values())
        name = "_scaled_dot_product_flash_attention_for_cpu_backward"
        yield from [_tokens_first(name, shape, *reads, flops=flops) for shape in shapes]

    name = "_scaled_dot_product_flash_attention_for_cpu"
    flops = 4 * prod(map(int, q.shape)) * int(k.shape[2])  # two products
    output = _tokens_first(name, q.shape, q, k, v, flops=flops)
    logsumexp = q.tape.new(name, q.shape[:3], q.dtype, q, k)
    saved = {**inputs, "output": output, "logsumexp": logsumexp}
    autograd_name = "ScaledDotProductFlashAttentionForCpuBackward0"
    return q.tape.record(output, autograd_name, (q, k, v), saved, rule)


def _tokens_first(name: str, shape: Sequence[int], *reads: Tensor, flops: int) -> Tensor:
    """A new tensor (n, heads, t, values) over a storage in the order (n, t, heads, values)."""
    _, heads, length, values = shape
    strides = (heads * length * values, values, heads * values, 1)
    return reads[0].tape.new(name, tuple(shape), reads[0].dtype, *reads, strides=strides, flops=flops)
