"""Peaks as a linear function of depth, batch and their product: least squares, and how far it is off."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from memtrain.answers.regime import Pair
from memtrain.graph.ops.base import Array

TERM_COUNT = 4

SPARE_CELLS = 2
"""A law is fitted to this many cells more than it has coefficients, so that its error says something."""


def line_through(peak_bytes: Mapping[Pair, int]) -> Array:
    """The coefficients of the law that is nearest to the peaks by least squares, in bytes."""
    peaks = np.array([*peak_bytes.values()], float)
    coefficients: Array = np.linalg.lstsq(terms_of(peak_bytes), peaks, rcond=None)[0]
    return coefficients


def errors(peak_bytes: Mapping[Pair, int]) -> tuple[float, float]:
    """Two largest relative errors: of the law fitted to all peaks, and of laws fitted to all peaks but one.

    The second is the error at the peak that was left out. It needs no second fit: it is the residual of the
    law fitted to all, divided by 1 less the leverage of the point.
    """
    terms, peaks = terms_of(peak_bytes), np.array([*peak_bytes.values()], float)
    off = terms @ line_through(peak_bytes) - peaks
    return largest_share(off, peaks), largest_share(off / (1 - _leverages(terms)), peaks)


def is_checkable(terms: Array) -> bool:
    """Whether there are cells enough to fit a law to all of them, and to all but any one of them."""
    if len(terms) < TERM_COUNT + SPARE_CELLS or np.linalg.matrix_rank(_scaled(terms)) < TERM_COUNT:
        return False
    return bool(np.all(_leverages(terms) < 1 - 1e-9))


def terms_of(pairs: Collection[Pair]) -> Array:
    """What the coefficients of the law multiply: a row (1, L, B, L·B) for each pair."""
    return np.array([(1, L, B, L * B) for L, B in pairs], float).reshape(-1, TERM_COUNT)


def _leverages(terms: Array) -> Array:
    """The leverage of each point on the law: 1 where the law cannot be found without that point."""
    basis = np.linalg.qr(_scaled(terms))[0]
    leverages: Array = np.sum(basis * basis, axis=1)
    return leverages


def _scaled(terms: Array) -> Array:
    scaled: Array = terms / np.max(terms, axis=0, initial=1)
    return scaled


def largest_share(off: Array, of: Array) -> float:
    """The largest of the differences ``off``, each relative to its entry of ``of``."""
    return float(np.max(np.abs(off) / of, initial=0))
