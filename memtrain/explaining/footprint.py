"""The footprint in symbols (exercise 3 of Dive into Deep Learning 5.3): the arrays at the peak, as formulas.

Each term is a product of sizes times a coefficient. The coefficient is a function of the depth ℓ, found from
the graphs of networks with ℓ, ℓ + 1 and ℓ + 2 blocks, or a number if the peak of one of them is elsewhere.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from memtrain.cells.cell import Cell, Mode
from memtrain.explaining.formulas import symbols
from memtrain.explaining.polynomial import Monomial, Polynomial, polynomial, polynomial_text
from memtrain.graph.node import Role
from memtrain.planning.liveness import Liveness, analyse
from memtrain.planning.remat.policy import NONE

Terms = dict[tuple[Role, Monomial], int]
"""The bytes that each product of sizes is multiplied by at the peak, by role."""


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
        of_role = {monomial: count for (owner, monomial), count in terms.items() if owner is role}
        if of_role:
            per_block = {monomial: slopes.get((role, monomial), 0) for monomial in of_role}
            formula = polynomial_text(of_role, per_block, cell["depth"])
            value = sum(count * monomial.value for monomial, count in of_role.items())
            found.append(RoleFootprint(role, formula, value))
    return found


def _terms_at_peak(liveness: Liveness) -> Terms:
    graph, node = liveness.schedule.graph, liveness.peak_node
    known = symbols(graph)
    terms: Counter[tuple[Role, Monomial]] = Counter()
    for life in liveness.lives:
        if life.born_step <= liveness.peak_step <= life.freed_step:
            _add(terms, life.role, polynomial(life.node.shape, life.node.dtype.itemsize, known))
    if node is not None:
        for count, dtype in node.op.workspace(*[graph[i] for i in node.inputs]):
            _add(terms, Role.WORKSPACE, polynomial((count,), dtype.itemsize, known))
    return dict(terms)


def _add(terms: Counter[tuple[Role, Monomial]], role: Role, found: Polynomial) -> None:
    for monomial, coefficient in found.items():
        terms[role, monomial] += coefficient


def _slopes(terms: Terms, cell: Cell, mode: Mode) -> dict[tuple[Role, Monomial], int]:
    """What an extra block adds to the coefficient of each term; empty if it is no such function.

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
