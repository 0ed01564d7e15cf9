"""The footprint in symbols (exercise 3 of Dive into Deep Learning 5.3): who stands at the peak, as formulas.

Each term is a product of sizes times how often it occurs. How often is a function of the depth L, read off
the graphs of L, L + 1 and L + 2 layers; where the peak moves between those it is just a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import prod

from memtrain.cells.cell import Cell, Mode
from memtrain.explain.formulas import symbol, symbols
from memtrain.graph.node import Dim, Node, Role
from memtrain.graph.ops.arithmetic import SPREAD_PARTS, Broadcast, spread_rows
from memtrain.graph.ops.base import BLOCK, Op, rows_per_block
from memtrain.graph.ops.loss import RowWise
from memtrain.plan.liveness import Liveness, analyse
from memtrain.plan.policy import NONE

Monomial = tuple[str, ...]
"""Symbols and numbers whose product is a number of bytes."""

Terms = dict[tuple[Role, Monomial], int]
"""How often each monomial stands at the peak, by role."""


@dataclass(frozen=True)
class RoleFootprint:
    """What a role holds at the peak."""

    role: Role
    formula: str
    bytes: int


def footprint(cell: Cell, mode: Mode, liveness: Liveness) -> list[RoleFootprint]:
    """The roles that stand at the predicted peak, as formulas and in bytes; they add up to the peak."""
    terms = _terms_at_peak(liveness)
    slopes = _slopes(terms, cell, mode)
    sizes = symbols(liveness.schedule.graph)
    found = []
    for role in Role:
        counts = {monomial: count for (owner, monomial), count in terms.items() if owner is role}
        by_size = sorted(counts, key=lambda monomial: -counts[monomial] * _value(monomial, sizes))
        formula = " + ".join(
            _text(monomial, counts[monomial], slopes.get((role, monomial), 0), cell["depth"])
            for monomial in by_size
        )
        if counts:
            value = sum(count * _value(monomial, sizes) for monomial, count in counts.items())
            found.append(RoleFootprint(role, formula, value))
    return found


def _terms_at_peak(liveness: Liveness) -> Terms:
    terms: Counter[tuple[Role, Monomial]] = Counter()
    for life in liveness.lives:
        if life.born_step <= liveness.peak_step <= life.freed_step:
            terms[life.role, (str(life.node.dtype.itemsize), *map(symbol, life.node.shape))] += 1
    node = liveness.peak_node
    if node is not None:
        inputs = [liveness.schedule.graph[i] for i in node.inputs]
        for place, (_, dtype) in enumerate(node.op.workspace(*inputs)):
            terms[Role.WORKSPACE, (str(dtype.itemsize), *_factors(node.op, place, inputs))] += 1
    return dict(terms)


def _factors(op: Op, place: int, inputs: Sequence[Node]) -> Monomial:
    """The elements of an op's workspace array ``place``, as sizes and the block that caps them.

    A product of sizes can be the right number by chance, as n·q is where q = 1. So it must also be what the
    op declares for inputs whose sizes are different primes, too small for any cap.
    """
    others = _with_prime_sizes(inputs)
    count, other_count = (op.workspace(*nodes)[place][0] for nodes in (inputs, others))
    for (monomial, value), (_, other_value) in zip(_products(op, inputs), _products(op, others), strict=True):
        if (count, other_count) == (value, other_value):
            return monomial
    return (str(count),)


def _products(op: Op, inputs: Sequence[Node]) -> Iterator[tuple[Monomial, int]]:
    """What a workspace may be made of, in symbols and as a number."""
    for node in inputs:
        if isinstance(op, Broadcast) and node.shape:
            row = node.shape[1:]
            rows = f"min({rows_per_block(prod(row))}, ⌈{symbol(node.shape[0])}/{SPREAD_PARTS}⌉)"
            yield (rows, *map(symbol, row)), spread_rows(node.shape) * prod(row)
        elif isinstance(op, RowWise) and len(node.shape) > 1:
            lead, row = node.shape[:-1], node.shape[-1:]
            most = rows_per_block(prod(row))
            rows, count = f"min({most}, {_joined(lead)})", min(most, prod(lead))
            yield (rows, *map(symbol, row)), count * prod(row)
            yield (rows,), count
        elif not isinstance(op, RowWise) and node.shape:
            yield (f"min({BLOCK}, {_joined(node.shape)})",), min(BLOCK, node.size)


def _joined(sizes: Sequence[int]) -> str:
    return "·".join(map(symbol, sizes))


def _with_prime_sizes(inputs: Sequence[Node]) -> list[Node]:
    """The inputs, but with a small prime for each symbol."""
    names = dict.fromkeys(size.symbol for node in inputs for size in node.shape if isinstance(size, Dim))
    primes = dict(zip(names, (17, 19, 23, 29, 31, 37, 41, 43), strict=False))
    return [
        replace(
            node,
            shape=tuple(
                Dim(primes[size.symbol], size.symbol) if isinstance(size, Dim) else size
                for size in node.shape
            ),
        )
        for node in inputs
    ]


def _slopes(terms: Terms, cell: Cell, mode: Mode) -> dict[tuple[Role, Monomial], int]:
    """How many more of each term a further layer brings; nothing where that is not the same twice."""
    if not isinstance(cell["width"], int) or cell.policy != NONE:
        return {}
    first, second = (
        _terms_at_peak(analyse(cell.changed(depth=cell["depth"] + more).schedule(mode))) for more in (1, 2)
    )
    slopes = {key: first.get(key, 0) - count for key, count in terms.items()}
    same = terms.keys() == first.keys() == second.keys() and all(
        second[key] - first[key] == slope for key, slope in slopes.items()
    )
    return slopes if same else {}


def _value(monomial: Monomial, sizes: dict[str, int]) -> int:
    return prod(_factor_value(part, sizes) for part in monomial)


def _factor_value(part: str, sizes: dict[str, int]) -> int:
    if part.isdecimal():
        return int(part)
    if part.startswith("⌈"):
        whole, parts = part[1:-1].rsplit("/", 1)
        return -(-prod(_factor_value(name, sizes) for name in whole.split("·")) // int(parts))
    if part.startswith("min("):
        most, product = part[4:-1].split(", ")
        if product.startswith("⌈"):
            return min(int(most), _factor_value(product, sizes))
        return min(int(most), prod(_factor_value(name, sizes) for name in product.split("·")))
    return sizes[part]


def _text(monomial: Monomial, count: int, slope: int, depth: int) -> str:
    """``4·(L − 1)·h²``: the number, how often, the symbols with their powers, the batch first."""
    number = prod(int(part) for part in monomial if part.isdecimal())
    layers: list[str] = []
    if slope:
        offset = count - slope * depth
        if offset % slope == 0:
            number, offset, slope = number * slope, offset // slope, 1
        times = "L" if slope == 1 else f"{slope}·L"
        layers = [f"({times} {'+' if offset > 0 else '−'} {abs(offset)})" if offset else times]
    else:
        number *= count
    symbols = sorted(
        (part for part in monomial if not part.isdecimal()), key=lambda name: (name != "n", name)
    )
    powers = [(name, len(list(same))) for name, same in groupby(symbols)]
    factors = [*layers, *(name if power == 1 else f"{name}{'⁰¹²³⁴⁵⁶⁷⁸⁹'[power]}" for name, power in powers)]
    return "·".join([str(number), *factors] if number != 1 or not factors else factors)
