"""Tensors of the tape with those operators and methods of PyTorch's tensors that the networks use."""

from __future__ import annotations

from typing import Any

from memtrain.engines import functions_arithmetic as arithmetic
from memtrain.engines import functions_attention as attention
from memtrain.engines import functions_shapes as shapes
from memtrain.engines.tape import Tensor
from memtrain.graph.size import product


class MethodTensor(Tensor):
    """A tensor of the tape that is written as PyTorch's users write tensors."""

    def __add__(self, other: Tensor) -> Tensor:
        return arithmetic.add(self, other)

    def __mul__(self, other: Tensor | float) -> Tensor:
        return arithmetic.multiply(self, other) if isinstance(other, Tensor) else arithmetic.scale(self)

    def __rsub__(self, other: float) -> Tensor:
        return arithmetic.subtract_from_number(self)

    def __matmul__(self, other: Tensor) -> Tensor:
        return attention.matmul(self, other)

    def view(self, *shape: int) -> Tensor:
        """The tensor in another shape, without a copy."""
        return shapes.view(self, *shape)

    def reshape(self, *shape: int) -> Tensor:
        """The tensor in another shape."""
        return shapes.reshape(self, *shape)

    def flatten(self, start_dim: int) -> Tensor:
        """The tensor with all axes from ``start_dim`` on as one."""
        return shapes.reshape(self, *self.shape[:start_dim], product(self.shape[start_dim:]))

    def mean(self, dim: tuple[int, ...]) -> Tensor:
        """The mean over some axes."""
        return arithmetic.mean(self, dim)

    def transpose(self, first: int, second: int) -> Tensor:
        """The tensor with two axes exchanged."""
        return shapes.transpose(self, first, second)

    def unbind(self, axis: int) -> tuple[Tensor, ...]:
        """The parts of the tensor along an axis."""
        return shapes.unbind(self, axis)

    def masked_fill(self, mask: Tensor, value: float) -> Tensor:
        """The tensor with ``value`` where the mask is true."""
        return attention.masked_fill(self, mask, value)

    def new_ones(self, *shape: int, dtype: Any) -> Tensor:
        """Ones of a type."""
        return self.tape.new("new_ones", shape, dtype)

    def new_zeros(self, *shape: int) -> Tensor:
        """Zeros of the type of the tensor."""
        return self.tape.new("new_zeros", shape, self.dtype)

    def triu(self, diagonal: int) -> Tensor:
        """The tensor with zeros below a diagonal."""
        return self.tape.new("triu", self.shape, self.dtype, self)
