"""The footprint in symbols (exercise 3 of Dive into Deep Learning 5.3): the arrays at the peak, as formulas.

Each term is a product of sizes times a count. The count is a function of the depth ℓ, found from the graphs
of networks with ℓ, ℓ + 1 and ℓ + 2 blocks. If the peak of one of them is elsewhere, the count is a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod

from memtrain.cells.cell import Cell, Mode
from memtrain.explaining.formulas import symbols
from memtrain.graph.node import Role
from memtrain.graph.size import BATCH, Dim, evaluate, factors, product, text
from memtrain.models.network import DEPTH
from memtrain.planning.liveness import Liveness, analyse
from memtrain.planning.remat.policy import NONE


@dataclass(frozen=True)
class Monomial:
    """Bytes as a product: a number and the symbols of sizes, the batch first."""

    number: int
    sizes: tuple[str, ...]
    bytes: int


Terms = dict[tuple[Role, Monomial], int]
"""The count of each monomial at the peak, by role."""


@dataclass(frozen=True)
class RoleFootprint:
    """The bytes of a role at the peak."""

    role: Role
    formula: str
    bytes: int


def footprint(cell: Cell, mode: Mode, liveness: Liveness) -> list[RoleFootprint]:
    """The roles at the predicted peak, as formulas and in bytes; their sum is the peak."""
    terms = _terms_at_peak(liveness)
    slopes = _slopes(terms, cell, mode)
    found = []
    for role in Role:
        counts = {monomial: count for (owner, monomial), count in terms.items() if owner is role}
        by_size = sorted(counts, key=lambda monomial: -counts[monomial] * monomial.bytes)
        formula = " + ".join(
            _text(monomial, counts[monomial], slopes.get((role, monomial), 0), cell["depth"])
            for monomial in by_size
        )
        if counts:
            value = sum(count * monomial.bytes for monomial, count in counts.items())
            found.append(RoleFootprint(role, formula, value))
    return found


def _terms_at_peak(liveness: Liveness) -> Terms:
    graph, node = liveness.schedule.graph, liveness.peak_node
    known = symbols(graph)
    terms: Counter[tuple[Role, Monomial]] = Counter()
    for life in liveness.lives:
        if life.born_step <= liveness.peak_step <= life.freed_step:
            terms[life.role, _monomial(life.node.dtype.itemsize, life.node.shape, known)] += 1
    if node is not None:
        for count, dtype in node.op.workspace(*[graph[i] for i in node.inputs]):
            terms[Role.WORKSPACE, _monomial(dtype.itemsize, (count,), known)] += 1
    return dict(terms)


def _monomial(itemsize: int, shape: Sequence[int], known: Mapping[str, int]) -> Monomial:
    """The bytes of an array of ``shape``. Sizes without a symbol are part of the number."""
    sizes = factors(product(shape))
    number = itemsize * prod(size for size in sizes if not isinstance(size, Dim))
    written = [text(size) for size in sizes if isinstance(size, Dim)]
    value = itemsize * prod(evaluate(size, known) for size in sizes)
    return Monomial(number, tuple(sorted(written, key=lambda name: (name != BATCH, name))), value)


def _slopes(terms: Terms, cell: Cell, mode: Mode) -> dict[tuple[Role, Monomial], int]:
    """The number that an extra block adds to the count of each term; empty if the count is no such function.

    The number must be the same for two extra blocks. All blocks must be equal, and no value recomputed.
    """
    most = cell.network.most_depth
    too_deep = most is not None and cell["depth"] + 2 > most
    if isinstance(cell["width"], tuple) or cell.policy != NONE or too_deep:
        return {}
    first, second = (
        _terms_at_peak(analyse(cell.changed(depth=cell["depth"] + more).schedule(mode))) for more in (1, 2)
    )
    slopes = {key: first.get(key, 0) - count for key, count in terms.items()}
    same = terms.keys() == first.keys() == second.keys() and all(
        second[key] - first[key] == slope for key, slope in slopes.items()
    )
    return slopes if same else {}


def _text(monomial: Monomial, count: int, slope: int, depth: int) -> str:
    """``4·(ℓ − 1)·m²``: the number, the count, and the symbols with their powers, the batch first."""
    number = monomial.number
    layers: list[str] = []
    if slope:
        offset = count - slope * depth
        if offset % slope == 0:
            number, offset, slope = number * slope, offset // slope, 1
        times = DEPTH if slope == 1 else f"{slope}·{DEPTH}"
        layers = [f"({times} {'+' if offset > 0 else '−'} {abs(offset)})" if offset else times]
    else:
        number *= count
    powers = [(name, len(list(same))) for name, same in groupby(monomial.sizes)]
    factors = [*layers, *(name if power == 1 else f"{name}{'⁰¹²³⁴⁵⁶⁷⁸⁹'[power]}" for name, power in powers)]
    return "·".join([str(number), *factors] if number != 1 or not factors else factors)
