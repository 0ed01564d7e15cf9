"""Least squares for peaks as a linear function of depth ℓ, batch n and ℓ·n, and the errors of the fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from memtrain.answers.regime import Pair
from memtrain.graph.ops.base import Array

TERM_COUNT = 4

SPARE_CELLS = 2
"""A law is fitted to at least this many more cells than it has coefficients; else its error means nothing."""


def line_through(peak_bytes: Mapping[Pair, int]) -> Array:
    """The coefficients (of 1, ℓ, n, ℓ·n, in bytes) of the law nearest to the peaks by least squares."""
    peaks = np.array([*peak_bytes.values()], float)
    coefficients: Array = np.linalg.lstsq(terms_of(peak_bytes), peaks, rcond=None)[0]
    return coefficients


def errors(peak_bytes: Mapping[Pair, int]) -> tuple[float, float]:
    """The largest relative error of the law that is fitted to all peaks, and the largest hold-out error.

    The hold-out error of a peak is the error there of the law that is fitted to all other peaks. It needs no
    second fit: it is the residual of the law fitted to all peaks, divided by 1 − the leverage of the point.
    """
    terms, peaks = terms_of(peak_bytes), np.array([*peak_bytes.values()], float)
    off = terms @ line_through(peak_bytes) - peaks
    return largest_share(off, peaks), largest_share(off / (1 - _leverages(terms)), peaks)


def is_checkable(terms: Array) -> bool:
    """Whether the cells are enough to fit a law to all of them, and to all of them except any one."""
    if len(terms) < TERM_COUNT + SPARE_CELLS or np.linalg.matrix_rank(_scaled(terms)) < TERM_COUNT:
        return False
    return bool(np.all(_leverages(terms) < 1 - 1e-9))


def terms_of(pairs: Collection[Pair]) -> Array:
    """A matrix with the row (1, ℓ, n, ℓ·n) for each pair: the terms of the law."""
    rows = [(1, depth, batch, depth * batch) for depth, batch in pairs]
    return np.array(rows, float).reshape(-1, TERM_COUNT)


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
