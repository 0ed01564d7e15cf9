"""What a transformer layer retains, term by term, beside Korthikanti et al. 2022 (§4.1) and PyTorch.

The paper counts s·b·h·(34 + 5·a·s/h) bytes for s tokens, b examples, h units and a heads, with two bytes for
a value and one for an element of a mask. memtrain and PyTorch are counted in float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from memtrain.cells.cell import Cell, cell_of

UNITS = {
    "sbh": lambda s, b, h, a: s * b * h,
    "as²b": lambda s, b, h, a: a * s * s * b,
    "asb": lambda s, b, h, a: a * s * b,
    "sb": lambda s, b, h, a: s * b,
    "s²": lambda s, b, h, a: s * s,
}
STATISTICS = "mean and inverse deviation of both norms"
FLOAT_MASK = "PyTorch's mask has the type of the values"


class Term(NamedTuple):
    """A retained value: the part of the layer that reads it, its label, and its bytes per unit."""

    part: str
    value: str
    label: str
    unit: str
    paper: int
    ours: int
    pytorch: int
    why: str = ""


TERMS = (
    Term("norm", "input of the first norm", "y", "sbh", 2, 4, 4),
    Term("norm", "input of the second norm", "r", "sbh", 2, 4, 4),
    *(Term("norm", STATISTICS, label, "sb", 0, 4, 4) for label in ("μ(u)", "r(u)", "μ(w)", "r(w)")),
    Term("attention", "input of Q, K and V", "u", "sbh", 2, 4, 4),
    Term("attention", "Q", "q", "sbh", 2, 4, 4),
    Term("attention", "K", "k", "sbh", 2, 4, 4),
    Term("attention", "V", "v", "sbh", 2, 4, 4),
    Term("attention", "causal mask", "", "s²", 0, 0, 1, "our softmax needs no array for it"),
    Term("attention", "softmax", "P", "as²b", 2, 4, 4),
    Term("attention", "mask of the softmax", "mask(P)", "as²b", 1, 1, 4, FLOAT_MASK),
    Term("attention", "dropped softmax", "P′", "as²b", 2, 4, 4),
    Term("attention", "input of the projection", "c by heads", "sbh", 2, 4, 4),
    Term("attention", "mask of the result", "mask(a)", "sbh", 1, 1, 4, FLOAT_MASK),
    Term("perceptron", "input of the first product", "w", "sbh", 2, 4, 4),
    Term("perceptron", "input of the GELU", "z", "sbh", 8, 16, 16),
    Term("perceptron", "input of the second product", "h", "sbh", 8, 16, 16),
    Term("perceptron", "mask of the result", "mask(f)", "sbh", 1, 1, 4, FLOAT_MASK),
)


def totals(column: str, terms: Iterable[Term] = TERMS) -> dict[str, int]:
    """The sum of a column of terms for each unit; units that do not occur are left out."""
    found = dict.fromkeys(UNITS, 0)
    for term in terms:
        found[term.unit] += getattr(term, column)
    return {unit: count for unit, count in found.items() if count}


def value_of(counts: dict[str, int], sizes: tuple[int, int, int, int]) -> int:
    """The bytes of multiples of units for s, b, h and a."""
    return sum(count * UNITS[unit](*sizes) for unit, count in counts.items())


def text(counts: dict[str, int]) -> str:
    """``66·sbh + 9·as²b + 16·sb``."""
    return " + ".join(unit if count == 1 else f"{count}·{unit}" for unit, count in counts.items())


def layers(depth: int, sizes: tuple[int, int, int, int], dropout: float, attention: str) -> Cell:
    """A transformer of ``depth`` layers for s, b, h and a."""
    s, b, h, a = sizes
    return cell_of(
        model="transformer",
        depth=depth,
        sequence=s,
        batch=b,
        width=h,
        heads=a,
        bias=True,
        dropout=dropout,
        attention=attention,
    )
