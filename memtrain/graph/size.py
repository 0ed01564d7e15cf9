"""Sizes with a meaning: integers that also carry their expression in the symbols of the book.

A size is an ``int``. A size that depends on the network or the batch is a `Dim`. Its meaning is a symbol
(n, d, m, q), or a product, a sum, a quotient or a bounded product of other sizes. So bytes can be written as
formulas, and a formula can be evaluated for other networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import NamedTuple

BATCH = "n"
"""The symbol of the number of examples in a batch."""


class Symbol(NamedTuple):
    """A size with a name of its own."""

    name: str


class Product(NamedTuple):
    """The product of sizes."""

    factors: tuple[int, ...]


class Quotient(NamedTuple):
    """One of ``parts`` equal parts of ``whole``; the quotient is rounded up if ``rounded``.

    ``parts`` may be a `Dim`: the units of one of several heads are m/a.
    """

    whole: int
    parts: int
    rounded: bool = False


class Least(NamedTuple):
    """A product of sizes, but at most ``most``."""

    most: int
    factors: tuple[int, ...]


class Sum(NamedTuple):
    """The sum of sizes."""

    terms: tuple[int, ...]


Meaning = Symbol | Product | Quotient | Least | Sum


class Dim(int):
    """A size with a meaning. A meaning given as text is the symbol of that name."""

    meaning: Meaning

    def __new__(cls, size: int, meaning: Meaning | str) -> Dim:
        """An int that also carries ``meaning``."""
        dim = int.__new__(cls, size)
        dim.meaning = Symbol(meaning) if isinstance(meaning, str) else meaning
        return dim

    def __reduce__(self) -> tuple[type[Dim], tuple[int, Meaning]]:
        return Dim, (int(self), self.meaning)


def _dim(value: int, meaning: Meaning) -> Dim:
    """A `Dim`, created in half the time of the constructor: a prediction creates some at each step."""
    dim = int.__new__(Dim, value)
    dim.meaning = meaning
    return dim


def product(sizes: Sequence[int]) -> int:
    """The product of sizes: n·m. The product of one size is that size with its meaning."""
    value = prod(sizes)
    for size in sizes:
        if isinstance(size, Dim):
            return size if len(sizes) == 1 else _dim(value, Product(tuple(sizes)))
    return value


def part(size: int, count: int) -> int:
    """One of ``count`` equal parts of ``size``, which ``count`` divides: n/2."""
    named = isinstance(count, Dim)
    if count == 1 and not named:
        return size
    if not isinstance(size, Dim) and not named:
        return size // count
    whole = size.meaning if isinstance(size, Dim) else None
    if isinstance(whole, Quotient) and not whole.rounded and not named and not isinstance(whole.parts, Dim):
        return _dim(size // count, Quotient(whole.whole, whole.parts * count))
    return _dim(size // count, Quotient(size, count))


def rounded_part(size: int, count: int) -> int:
    """A ``count``-th of ``size``, rounded up: ⌈n/8⌉."""
    value = -(-size // count)
    return _dim(value, Quotient(size, count, rounded=True)) if isinstance(size, Dim) else value


def least(most: int, sizes: Sequence[int]) -> int:
    """The product of ``sizes``, but at most ``most``: min(16384, n·m)."""
    value = min(most, prod(sizes))
    for size in sizes:
        if isinstance(size, Dim):
            return _dim(value, Least(most, tuple(sizes)))
    return value


def total(sizes: Sequence[int]) -> int:
    """The sum of sizes: n·m + n."""
    value = sum(sizes)
    return _dim(value, Sum(tuple(sizes))) if any(isinstance(size, Dim) for size in sizes) else value


def factors(size: int) -> tuple[int, ...]:
    """The sizes whose product is ``size``. None of them is a product or a plain 1; a · m/a is m."""
    if isinstance(size, Dim) and isinstance(size.meaning, Product):
        return _cancelled([factor for given in size.meaning.factors for factor in factors(given)])
    return () if size == 1 and not isinstance(size, Dim) else (size,)


def _cancelled(sizes: list[int]) -> tuple[int, ...]:
    """The factors ``sizes`` without the quotients whose divisor is a factor, too."""
    for i, quotient in enumerate(sizes):
        if not isinstance(quotient, Dim) or not isinstance(quotient.meaning, Quotient):
            continue
        whole, parts, rounded = quotient.meaning
        for j, size in enumerate(sizes):
            if not rounded and isinstance(parts, Dim) and isinstance(size, Dim) and _same(size, parts):
                rest = [factor for k, factor in enumerate(sizes) if k not in (i, j)]
                return _cancelled([*rest, *factors(whole)])
    return tuple(sizes)


def _same(size: Dim, other: Dim) -> bool:
    """Whether two sizes have one meaning."""
    return size == other and size.meaning == other.meaning


def text(size: int) -> str:
    """The text of a size in a formula; a size without a meaning is written in digits."""
    if not isinstance(size, Dim):
        return str(int(size))
    match size.meaning:
        case Symbol(name):
            return name
        case Product():
            return "·".join(map(_factor_text, factors(size)))
        case Sum(terms):
            return " + ".join(map(text, terms))
        case Quotient(whole, parts, rounded):
            quotient = f"{_factor_text(whole)}/{_factor_text(parts)}"
            return f"⌈{quotient}⌉" if rounded else quotient
        case Least(most, sizes):
            return f"min({most}, {text(product(sizes))})"


def _factor_text(size: int) -> str:
    """The text of a size in a product or quotient: a sum is in parentheses."""
    return f"({text(size)})" if isinstance(size, Dim) and isinstance(size.meaning, Sum) else text(size)


def evaluate(size: int, sizes: Mapping[str, int]) -> int:
    """The value of ``size`` for the given ``sizes`` of its symbols. Raises ``KeyError`` if one is missing."""
    if not isinstance(size, Dim):
        return size
    match size.meaning:
        case Symbol(name):
            return sizes[name]
        case Product(found):
            return prod(evaluate(factor, sizes) for factor in found)
        case Sum(terms):
            return sum(evaluate(term, sizes) for term in terms)
        case Quotient(whole, parts):
            return -(-evaluate(whole, sizes) // evaluate(parts, sizes))
        case Least(most, found):
            return min(most, prod(evaluate(factor, sizes) for factor in found))


def symbols(size: int) -> Iterator[tuple[str, int]]:
    """The symbols in a size, each with its value, in the order in which they are written."""
    if isinstance(size, Dim):
        match size.meaning:
            case Symbol(name):
                yield name, int(size)
            case Product(sizes) | Least(_, sizes) | Sum(sizes):
                for factor in sizes:
                    yield from symbols(factor)
            case Quotient(whole, parts):
                yield from symbols(whole)
                yield from symbols(parts)


def carries_batch(shape: Sequence[int]) -> bool:
    """Whether the first axis of a shape counts the examples of a batch, or a part of them."""
    return bool(shape) and any(name == BATCH for name, _ in symbols(shape[0]))
