"""Autograd's engine on the tape: the order of backward, and when saved tensors and gradients are released.

Source: PyTorch 2.13, ``torch/csrc/autograd``: ``engine.cpp``, ``input_buffer.cpp`` and
``functions/accumulate_grad.h``.
"""

from __future__ import annotations

from heapq import heappop, heappush

from memtrain.engines.history import Accumulation, Function, Target
from memtrain.engines.strides import elementwise_strides, is_dense, same_strides
from memtrain.engines.tape import Tensor

Gradients = list[Tensor | None]


def backward(root: Tensor, *, retain_graph: bool = False) -> None:
    """Compute the gradients of ``root`` for all leaves that require one.

    Of the functions that have all their gradients, the one that was called last runs first. A leaf whose
    gradient is complete gets it before the next function runs. With ``retain_graph`` no function gives up
    what it saved.
    """
    if root.function is None:
        return
    seed = root.tape.new("ones_like", root.shape, root.dtype)  # PyTorch holds it until backward has ended
    seed.holders = 2
    _Engine(root.function, retain_graph).run(seed)


class _Engine:
    """The state of one backward: what each function waits for, and the gradients that it has so far."""

    def __init__(self, first: Function, retain_graph: bool) -> None:
        self._first, self._retain_graph = first, retain_graph
        self._waiting = _gradient_counts(first)
        self._buffers: dict[int, Gradients] = {}
        self._ready: list[tuple[bool, int, Function | Accumulation]] = []

    def run(self, seed: Tensor) -> None:
        """Give the first function its gradient, and run all that become ready."""
        self._pass_on(Target(self._first, 0), [seed], 0)
        while self._ready:
            *_, end = heappop(self._ready)
            if isinstance(end, Accumulation):
                _accumulate(end.leaf, self._buffers.pop(end.number))
                continue
            with end.tape.within(end):
                self._evaluate(end)

    def _evaluate(self, function: Function) -> None:
        """Run a function and pass on its gradients. Those that nothing has taken over end here."""
        gradients = _run(function, self._buffers)
        if not self._retain_graph:
            function.saved = {}
        for number, target in enumerate(function.targets):
            self._pass_on(target, gradients, number)
        _release(gradients)

    def _pass_on(self, target: Target | None, gradients: Gradients, number: int) -> None:
        """Add one of ``gradients`` to those of its target, which may become ready.

        A buffer takes the first gradient over. One that is added to it lives on in ``gradients``.
        """
        if target is None:
            return
        end, gradient = target.end, gradients[number]
        self._waiting[end.number] -= 1
        if gradient is not None:
            buffer = self._buffers.setdefault(end.number, [None] * end.result_count)
            before = buffer[target.result]
            if before is None:
                buffer[target.result], gradients[number] = gradient, None
            else:
                buffer[target.result] = _sum(before, gradient)
        if not self._waiting[end.number] and end.number in self._buffers:
            heappush(self._ready, (isinstance(end, Function), -end.number, end))


def _run(function: Function, buffers: dict[int, Gradients]) -> Gradients:
    """The gradients of a function's inputs. Its own gradients are released."""
    given = buffers.pop(function.number)
    _release(given)
    rule = function.rule(given, function.needs, **function.saved)
    del given
    found = list(rule)
    for gradient in found:
        if gradient is not None:
            gradient.holders += 1
    return found


def _release(gradients: Gradients) -> None:
    """Note that the engine does not hold these gradients any more."""
    for gradient in gradients:
        if gradient is not None:
            gradient.holders -= 1


def _gradient_counts(first: Function) -> dict[int, int]:
    """For ``first`` and each function and leaf below it: how many gradients it waits for."""
    found = {first.number: 1}
    stack = [first]
    while stack:
        for target in stack.pop().targets:
            if target is None:
                continue
            if target.end.number not in found and isinstance(target.end, Function):
                stack.append(target.end)
            found[target.end.number] = found.get(target.end.number, 0) + 1
    return found


def _accumulate(leaf: Tensor, buffer: Gradients) -> None:
    """Give a leaf its gradient. It takes the tensor over if nothing else holds it and its strides fit."""
    (gradient,) = buffer
    assert gradient is not None
    if leaf.grad is not None:
        leaf.grad.tape.write("add_", leaf.grad, gradient)
        gradient.holders -= 1
        return
    if gradient.holders == 1 and same_strides(leaf.shape, gradient.strides, leaf.strides):
        leaf.grad = gradient
        return
    leaf.grad = gradient.tape.new("clone", gradient.shape, gradient.dtype, gradient, strides=leaf.strides)
    gradient.holders -= 1


def _sum(before: Tensor, gradient: Tensor) -> Tensor:
    """The sum of two gradients. It is in the storage of the first if nothing else uses that one."""
    dense = is_dense(before.shape, before.strides)
    if dense and before.holders == 1 and before.storage.tensor_count == 1:
        before.tape.write("add_", before, gradient)
        return before
    before.holders -= 1
    strides = elementwise_strides(before.shape, [(x.shape, x.strides) for x in (before, gradient)])
    found = before.tape.new("add", before.shape, before.dtype, before, gradient, strides=strides)
    found.holders = 1
    return found
