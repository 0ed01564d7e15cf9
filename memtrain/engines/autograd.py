"""Autograd's engine on the tape: the order of backward, and when saved tensors and gradients are released.

Source: PyTorch 2.13, ``torch/csrc/autograd/engine.cpp`` and ``input_buffer.cpp``.
"""

from __future__ import annotations

from heapq import heappop, heappush

from memtrain.engines.tape import Accumulation, Function, Tensor


def backward(root: Tensor) -> None:
    """Add the gradients of ``root`` to all leaves that require one.

    Of the functions that have all their gradients, the one that was called last runs first.
    """
    if root.function is None:
        return
    tape, waiting = root.tape, _gradient_counts(root.function)
    seed = tape.new("ones_like", root.shape, root.dtype)  # PyTorch holds it until backward has ended
    buffers = {root.function.number: seed}
    ready = [(-root.function.number, root.function)]
    while ready:
        _, function = heappop(ready)
        with tape.within(function):
            _run(function, buffers)
        for target in function.targets:
            if isinstance(target, Function):
                waiting[target.number] -= 1
                if not waiting[target.number] and target.number in buffers:
                    heappush(ready, (-target.number, target))


def _run(function: Function, buffers: dict[int, Tensor]) -> None:
    """Compute the gradients of a function's inputs, release what it saved, and pass the gradients on."""
    gradients = list(function.rule(buffers.pop(function.number), function.needs, **function.saved))
    function.saved = {}
    for target in function.targets:
        gradient = gradients.pop(0)
        if gradient is None:
            continue
        if isinstance(target, Accumulation):
            leaf = target.leaf
            leaf.grad = _own(gradient) if leaf.grad is None else _sum(leaf.grad, gradient)
        elif isinstance(target, Function):
            before = buffers.get(target.number)
            buffers[target.number] = gradient if before is None else _sum(before, gradient)
        del gradient


def _gradient_counts(first: Function) -> dict[int, int]:
    """For each function below ``first``: how many gradients it waits for."""
    found: dict[int, int] = {}
    stack = [first]
    while stack:
        for target in stack.pop().targets:
            if isinstance(target, Function):
                if target.number not in found:
                    stack.append(target)
                found[target.number] = found.get(target.number, 0) + 1
    return found


def _own(gradient: Tensor) -> Tensor:
    """The gradient of a leaf. It takes the tensor over, unless another one shares its storage."""
    if gradient.storage.tensor_count == 1:
        return gradient
    return gradient.tape.new("clone", gradient.shape, gradient.dtype, gradient)


def _sum(first: Tensor, second: Tensor) -> Tensor:
    """The sum of two gradients, in the storage of one that nothing else uses, or else in a new one."""
    for total, added in ((first, second), (second, first)):
        if total.storage.tensor_count == 1:
            total.tape.write("add_", total, added)
            return total
    return first.tape.new("add", first.shape, first.dtype, first, second)
