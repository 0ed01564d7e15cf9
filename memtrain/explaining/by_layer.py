"""The retained bytes by layer, in symbols: what forward keeps for the gradients of each layer.

A value belongs to the layer whose gradients read it first. The outputs of a norm, which the products of an
attention read, belong to the attention, as in Korthikanti et al. 2022 (§4.1).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from memtrain.explaining.formulas import Book
from memtrain.explaining.polynomial import Monomial, polynomial, polynomial_text
from memtrain.graph.node import Phase, Role, Scope
from memtrain.planning.liveness import Liveness


@dataclass(frozen=True)
class LayerBytes:
    """The retained bytes that the gradients of a layer read, as a formula and as a number."""

    name: str
    label: str
    scope: Scope
    formula: str
    bytes: int


def retained_by_layer(liveness: Liveness, book: Book) -> list[LayerBytes]:
    """One entry per layer that reads retained values, in the order of their first values."""
    schedule = liveness.schedule
    reader: dict[int, Scope] = {}  # by storage
    for step in schedule.steps:
        node = schedule.graph[step.node]
        for index in node.inputs if step.phase is not Phase.FORWARD else ():
            reader.setdefault(schedule.graph[index].storage, node.scope)
    layers: dict[Scope, Counter[Monomial]] = {}
    for life in liveness.lives:
        if life.role is Role.RETAINED:
            found = polynomial(life.node.shape, life.node.dtype.itemsize, book.sizes)
            layers.setdefault(reader[life.node.id], Counter()).update(found)
    return [_entry(scope, terms) for scope, terms in layers.items()]


def _entry(scope: Scope, terms: Counter[Monomial]) -> LayerBytes:
    value = sum(count * monomial.value for monomial, count in terms.items())
    label = " ".join(block.kind for block in scope)
    return LayerBytes(
        " ".join(map(str, scope)) or "other", label, scope, polynomial_text(terms, {}, 0), value
    )
