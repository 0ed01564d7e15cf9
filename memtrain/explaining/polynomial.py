"""Bytes as sums of products of sizes: ``4·n·m + 8·n``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import gcd, prod
from typing import NamedTuple

from memtrain.graph.node import Shape
from memtrain.graph.size import BATCH, Dim, evaluate, factors, product, text
from memtrain.models.network import DEPTH

_POWERS = "⁰¹²³⁴⁵⁶⁷⁸⁹"


class Monomial(NamedTuple):
    """A product of symbols, the batch first, and its value."""

    sizes: tuple[str, ...]
    value: int

    def text(self, coefficient: str) -> str:
        """The product with a coefficient in front: ``4·n·m²``."""
        sizes = [_power(name, len(list(same))) for name, same in groupby(self.sizes)]
        return "·".join([*([] if coefficient == "1" and sizes else [coefficient]), *sizes])


def _power(name: str, power: int) -> str:
    if power == 1:
        return name
    return f"{name if name.isalnum() else f'({name})'}{_POWERS[power]}"


Polynomial = dict[Monomial, int]
"""The bytes that each product is multiplied by."""


def term(shape: Sequence[int], itemsize: int, known: Mapping[str, int]) -> tuple[Monomial, int]:
    """The bytes of an array as a product and its coefficient. Sizes without a symbol are in the latter.

    ``known`` has the value of each symbol.
    """
    sizes = factors(product(shape))
    symbols = [size for size in sizes if isinstance(size, Dim)]
    written = sorted(map(text, symbols), key=lambda name: (name != BATCH, name))
    coefficient = itemsize * prod(size for size in sizes if not isinstance(size, Dim))
    return Monomial(tuple(written), prod(evaluate(size, known) for size in symbols)), coefficient


def polynomial_text(terms: Polynomial, slopes: Mapping[Monomial, int], depth: int) -> str:
    """The sum of ``terms``, the largest first. Each extra block adds ``slopes`` to the coefficients."""
    ordered = sorted(terms, key=lambda monomial: -terms[monomial] * monomial.value)
    return " + ".join(m.text(_coefficient(terms[m], slopes.get(m, 0), depth)) for m in ordered)


def _coefficient(value: int, slope: int, depth: int) -> str:
    """``4·(ℓ − 1)`` for a coefficient that grows by a slope of 4 with each block."""
    if not slope:
        return str(value)
    offset = value - slope * depth
    common = gcd(slope, offset)
    times = DEPTH if slope == common else f"{slope // common}·{DEPTH}"
    if offset:
        times = f"({times} {'+' if offset > 0 else '−'} {abs(offset) // common})"
    return times if common == 1 else f"{common}·{times}"


def bytes_formula(shape: Shape, itemsize: int, known: Mapping[str, int]) -> str:
    """The bytes of an array as a product: ``4·n·m``. ``known`` has the value of each symbol."""
    monomial, coefficient = term(shape, itemsize, known)
    return monomial.text(str(coefficient))
