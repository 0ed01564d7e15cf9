"""The optimisers of PyTorch on the tape: the tensors that ``torch.optim`` allocates in a step, on the CPU.

There PyTorch updates one parameter after another by default. With ``foreach`` it works on lists of all
parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memtrain.engines.loop import Loop
from memtrain.engines.tape import Tape, Tensor
from memtrain.graph.node import Role

_STATE = {"sgd": (), "momentum": ("momentum_buffer",), "adam": ("exp_avg", "exp_avg_sq")}
"""PyTorch's names of the state that has the shape of its parameter."""

_COUNT = np.dtype(np.float32)
"""The type of Adam's count of steps, of which each parameter has one."""


@dataclass(frozen=True)
class Group:
    """Parameters with one weight decay."""

    parameters: Sequence[Tensor]
    decay: float


def state_of(
    tape: Tape, optimizer: str, parameters: Sequence[Tensor], names: Sequence[str]
) -> list[list[Tensor]]:
    """The state of each parameter, as it exists in every iteration but the first."""
    states = []
    for parameter, name in zip(parameters, names, strict=True):
        state = [
            tape.leaf(Role.OPTIMIZER, f"{kind} of {name}", parameter.shape, parameter.dtype)
            for kind in _STATE[optimizer]
        ]
        if optimizer == "adam":
            state.append(tape.leaf(Role.OPTIMIZER, f"step of {name}", (), _COUNT))
        states.append(state)
    return states


def update(loop: Loop, groups: Sequence[Group], states: dict[int, list[Tensor]]) -> None:
    """One step of the optimiser for all parameters that have a gradient.

    ``states`` are those of the parameters by their ids. The first step makes them, if it is empty.
    """
    first = not states
    for group in groups:
        parameters = [p for p in group.parameters if p.grad is not None]
        if not parameters:
            continue
        gradients = [p.grad for p in parameters if p.grad is not None]
        if first:
            states |= {id(p): _first_state(loop, p) for p in parameters}
        held = [states[id(p)] for p in parameters]
        if loop.fused:
            _fused(parameters, gradients, held)
        else:
            step = (_ADAM if loop.optimizer == "adam" else _SGD)[loop.foreach]
            step(loop, parameters, gradients, held, group.decay)


def _first_state(loop: Loop, parameter: Tensor) -> list[Tensor]:
    """The state that the optimiser makes before its first step. SGD makes it then only if it is fused."""
    if loop.optimizer == "adam":
        count = parameter.tape.new("zeros", (), _COUNT)
        return [*[_state("zeros_like", parameter) for _ in _STATE["adam"]], count]
    return [_state("empty_like", parameter) for _ in _STATE[loop.optimizer]] if loop.fused else []


def _state(name: str, like: Tensor) -> Tensor:
    return like.tape.new(name, like.shape, like.dtype, like, lasts_as=Role.OPTIMIZER)


def _fused(
    parameters: Sequence[Tensor], gradients: Sequence[Tensor], states: Sequence[Sequence[Tensor]]
) -> None:
    """A step in one kernel, which overwrites the state and the parameters, and allocates nothing."""
    for parameter, gradient, state in zip(parameters, gradients, states, strict=True):
        for written in (*state, parameter):
            written.tape.write("_fused", written, gradient)


def _sgd(
    loop: Loop,
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    states: Sequence[list[Tensor]],
    decay: float,
) -> None:
    for k, parameter in enumerate(parameters):
        gradient = gradients[k]
        if decay:
            gradient = _like("add", gradient, parameter)
        if loop.optimizer == "momentum":
            if states[k]:
                (buffer,) = states[k]
                buffer.tape.write("mul_", buffer)
                buffer.tape.write("add_", buffer, gradient)
            else:
                states[k].append(_state("clone", gradient))
            (gradient,) = states[k]
        parameter.tape.write("add_", parameter, gradient)


def _sgd_foreach(
    loop: Loop,
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    states: Sequence[list[Tensor]],
    decay: float,
) -> None:
    if decay:
        gradients = [_like("_foreach_add", g, p) for g, p in zip(gradients, parameters, strict=True)]
    if loop.optimizer == "momentum":
        if states[0]:
            _write_each("_foreach_mul_", [state[0] for state in states])
            _write_each("_foreach_add_", [state[0] for state in states], gradients)
        else:
            for state, gradient in zip(states, gradients, strict=True):
                state.append(_state("clone", gradient))
            del gradient
        gradients = [state[0] for state in states]
    _write_each("_foreach_add_", parameters, gradients)


def _adam(
    loop: Loop,
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    states: Sequence[list[Tensor]],
    decay: float,
) -> None:
    for k, parameter in enumerate(parameters):
        gradient, (mean, square, count) = gradients[k], states[k]
        tape = parameter.tape
        tape.write("add_", count)
        if decay:
            gradient = _like("add", gradient, parameter)
        tape.write("lerp_", mean, gradient)
        tape.write("mul_", square)
        tape.write("addcmul_", square, gradient)
        denominator = _like("div", _like("sqrt", square))  # the one before dies after the new one exists
        tape.write("add_", denominator)
        tape.write("addcdiv_", parameter, mean, denominator)


def _adam_foreach(
    loop: Loop,
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    states: Sequence[list[Tensor]],
    decay: float,
) -> None:
    means, squares, counts = (list(kind) for kind in zip(*states, strict=True))
    one = counts[0].tape.new("tensor", (), _COUNT)
    _write_each("_foreach_add_", counts, [one] * len(counts))
    del one
    if decay:
        gradients = [_like("_foreach_add", g, p) for g, p in zip(gradients, parameters, strict=True)]
    _write_each("_foreach_lerp_", means, gradients)
    _write_each("_foreach_mul_", squares)
    _write_each("_foreach_addcmul_", squares, gradients)
    del gradients
    roots = [_like("_foreach_sqrt", square) for square in squares]
    _write_each("_foreach_div_", roots)
    _write_each("_foreach_add_", roots)
    _write_each("_foreach_addcdiv_", parameters, means, roots)


def _write_each(name: str, written: Sequence[Tensor], *reads: Sequence[Tensor]) -> None:
    """Overwrite each of some tensors. No reference to one is left, so that a list can be freed after it."""
    for x, *others in zip(written, *reads, strict=True):
        x.tape.write(name, x, *others)


def _like(name: str, x: Tensor, *others: Tensor) -> Tensor:
    return x.tape.new(name, x.shape, x.dtype, x, *others)


_SGD = (_sgd, _sgd_foreach)
_ADAM = (_adam, _adam_foreach)
