"""Least squares for peaks as a linear function of terms, and the errors of the fit.

The terms are 1, ℓ, n and ℓ·n for depth ℓ and batch n, or the powers 1, a and a² of one swept number a.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from memtrain.answers.regime import Pair
from memtrain.graph.ops.base import Array

Terms = Callable[[Collection[Any]], Array]
"""A function from points to a matrix with a row of terms for each of them."""

SPARE_CELLS = 2
"""A law is fitted to at least this many more cells than it has coefficients; else its error means nothing."""


def terms_of(pairs: Collection[Pair]) -> Array:
    """A matrix with the row (1, ℓ, n, ℓ·n) for each pair of a depth and a batch."""
    rows = [(1, depth, batch, depth * batch) for depth, batch in pairs]
    return np.array(rows, float).reshape(-1, 4)


def lines_of(numbers: Collection[int]) -> Array:
    """A matrix with the row (1, a) for each number a."""
    return powers_of(numbers)[:, :2]


def powers_of(numbers: Collection[int]) -> Array:
    """A matrix with the row (1, a, a²) for each number a."""
    return np.array([(1, a, a * a) for a in numbers], float).reshape(-1, 3)


def line_through(peak_bytes: Mapping[Any, float], terms: Terms = terms_of) -> Array:
    """The coefficients of the terms, in bytes, of the law nearest to the peaks by least squares."""
    found, peaks = terms(peak_bytes), np.array([*peak_bytes.values()], float)
    sizes = np.max(found, axis=0, initial=1)
    coefficients: Array = np.linalg.lstsq(found / sizes, peaks, rcond=None)[0] / sizes
    return coefficients


def errors(peak_bytes: Mapping[Any, float], terms: Terms = terms_of) -> tuple[float, float]:
    """The largest relative error of the law that is fitted to all peaks, and the largest hold-out error.

    The hold-out error of a peak is the error there of the law that is fitted to all other peaks. It needs no
    second fit: it is the residual of the law fitted to all peaks, divided by 1 − the leverage of the point.
    """
    found, peaks = terms(peak_bytes), np.array([*peak_bytes.values()], float)
    off = found @ line_through(peak_bytes, terms) - peaks
    return largest_share(off, peaks), largest_share(off / (1 - _leverages(found)), peaks)


def is_checkable(terms: Array) -> bool:
    """Whether the cells are enough to fit a law to all of them, and to all of them except any one."""
    count = terms.shape[1]
    if len(terms) < count + SPARE_CELLS or np.linalg.matrix_rank(_scaled(terms)) < count:
        return False
    return bool(np.all(_leverages(terms) < 1 - 1e-9))


def _leverages(terms: Array) -> Array:
    """The leverage of each point on the law. It is 1 if the law cannot be found without the point."""
    basis = np.linalg.qr(_scaled(terms))[0]
    leverages: Array = np.sum(basis * basis, axis=1)
    return leverages


def _scaled(terms: Array) -> Array:
    scaled: Array = terms / np.max(terms, axis=0, initial=1)
    return scaled


def largest_share(off: Array, of: Array) -> float:
    """The largest of the differences ``off``, each relative to the same entry of ``of``."""
    return float(np.max(np.abs(off) / of, initial=0))
