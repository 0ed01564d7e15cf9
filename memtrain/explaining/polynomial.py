"""Bytes as sums of products of sizes: ``4·n·m + 8·n``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import gcd, prod
from typing import NamedTuple

from memtrain.graph.node import Shape
from memtrain.graph.size import BATCH, Dim, Sum, evaluate, factors, product, text
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


def polynomial(shape: Sequence[int], itemsize: int, known: Mapping[str, int]) -> Polynomial:
    """The bytes of an array. ``known`` has the value of each symbol.

    An axis that is a sum gives one product for each of its terms. Sizes without a symbol are in the
    coefficients.
    """
    found: Counter[Monomial] = Counter()
    for sizes in _products(shape):
        symbols = [size for size in sizes if isinstance(size, Dim)]
        written = sorted(map(text, symbols), key=lambda name: (name != BATCH, name))
        value = prod(evaluate(size, known) for size in symbols)
        numbers = prod(size for size in sizes if not isinstance(size, Dim))
        found[Monomial(tuple(written), value)] += itemsize * numbers
    return found


def _products(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The factors of each product in the sum that the product of ``sizes`` is."""
    flat = factors(product(sizes))
    for i, size in enumerate(flat):
        if isinstance(size, Dim) and isinstance(size.meaning, Sum):
            for summand in size.meaning.terms:
                yield from _products((*flat[:i], summand, *flat[i + 1 :]))
            return
    yield flat


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
    """The bytes of an array as a formula: ``4·n·m``. ``known`` has the value of each symbol."""
    return polynomial_text(polynomial(shape, itemsize, known), {}, 0)
