"""Where the elements of a tensor lie: its strides, and the rules by which PyTorch chooses and changes them.

Sources: PyTorch 2.13, ``aten/src/ATen/TensorUtils.cpp`` (``computeStride``) and ``TensorIterator.cpp``
(``reorder_dimensions``).
"""

from __future__ import annotations

from collections.abc import Sequence

from memtrain.graph.node import Shape


def row_order(shape: Shape) -> Shape:
    """The strides of a tensor whose elements lie in the order of its rows."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= int(size)
    return tuple(reversed(strides))


def same_strides(shape: Shape, first: Shape, second: Shape) -> bool:
    """Whether two tuples of strides put the elements at the same places. An axis of size 1 has no say."""
    return all(size == 1 or a == b for size, a, b in zip(shape, first, second, strict=True))


def is_dense(shape: Shape, strides: Shape) -> bool:
    """Whether the elements fill their part of the storage, in any order and without an overlap."""
    step = 1
    for stride, size in sorted(
        (stride, int(size)) for stride, size in zip(strides, shape, strict=True) if size > 1
    ):
        if stride != step:
            return False
        step *= size
    return True


def viewed_strides(shape: Shape, strides: Shape, wanted: Shape) -> Shape | None:
    """The strides under which a tensor has the shape ``wanted``; ``None`` if that needs a copy."""
    found: list[int] = []
    sizes = [int(size) for size in reversed(wanted)]
    base, elements, covered = (strides[-1] if strides else 1), 1, 1
    for axis in reversed(range(len(shape))):
        elements *= int(shape[axis])
        if axis and (shape[axis - 1] == 1 or strides[axis - 1] == elements * base):
            continue
        while sizes and (covered < elements or sizes[0] == 1):
            found.append(covered * base)
            covered *= sizes.pop(0)
        if covered != elements:
            return None
        if axis:
            base, elements, covered = strides[axis - 1], 1, 1
    return tuple(reversed(found)) if not sizes else None


def elementwise_strides(shape: Shape, operands: Sequence[tuple[Shape, Shape]]) -> Shape:
    """The strides of the result of an elementwise function of operands, given as shapes and strides."""
    whole = [strides for of, strides in operands if tuple(of) == tuple(shape)]
    if len(whole) == len(operands):
        if all(same_strides(shape, strides, row_order(shape)) for strides in whole):
            return row_order(shape)
        if len(set(whole)) == 1 and is_dense(shape, whole[0]):
            return whole[0]
    broadcast = [_broadcast(shape, *operand) for operand in operands]
    order = list(reversed(range(len(shape))))
    for k in range(1, len(order)):
        moved = k
        for other in reversed(range(k)):
            said = _compare(shape, broadcast, order[other], order[moved])
            if said > 0:
                order[other], order[moved] = order[moved], order[other]
                moved = other
            elif said < 0:
                break
    strides, step = [0] * len(shape), 1
    for axis in order:
        strides[axis] = step
        step *= int(shape[axis])
    return tuple(strides)


def _broadcast(shape: Shape, of: Shape, strides: Shape) -> Shape:
    """The strides of an operand that is repeated along the axes that it lacks."""
    own = shape[len(shape) - len(of) :]
    repeated = [a == 1 and size != 1 for a, size in zip(of, own, strict=True)]
    moved = [0 if again else stride for again, stride in zip(repeated, strides, strict=True)]
    return (*[0] * (len(shape) - len(of)), *moved)


def _compare(shape: Shape, broadcast: Sequence[Shape], first: int, second: int) -> int:
    """1 if the axis ``first`` is outside of ``second`` in storage, −1 if it is inside, 0 if none can say."""
    for strides in broadcast:
        a, b = strides[first], strides[second]
        if a and b and a != b:
            return 1 if a > b else -1
        if a and b and shape[first] > shape[second]:
            return 1
    return 0
