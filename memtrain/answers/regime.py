"""Regimes: depths and batches over which peak bytes are exactly linear in ℓ (depth), n (batch) and ℓ·n.

The live bytes of each step are linear in ℓ, n and ℓ·n, and the peak is their maximum. So the peak is linear
as long as it stays at the same step, and another line holds beyond. A maximum of lines is convex. So if the
peaks of three sizes lie on one line, the peaks of all sizes between them lie on this line, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product

Pair = tuple[int, int]
"""A depth and a batch."""

FEWEST = 3
"""The least number of depths, and of batches, in a regime. Two peaks would always lie on a line."""


@dataclass(frozen=True)
class Regime:
    """Depths and batches in rising order. The peaks of all their pairs follow one linear law."""

    depths: tuple[int, ...]
    batches: tuple[int, ...]

    def __contains__(self, pair: Pair) -> bool:
        depth, batch = pair
        return self.depths[0] <= depth <= self.depths[-1] and self.batches[0] <= batch <= self.batches[-1]

    @property
    def corners(self) -> list[Pair]:
        """The pairs of the smallest and largest depth and batch; the smallest depth comes first."""
        return list(product((self.depths[0], self.depths[-1]), (self.batches[0], self.batches[-1])))

    @property
    def pairs(self) -> list[Pair]:
        """All pairs of a depth and a batch."""
        return list(product(self.depths, self.batches))


def tried(values: Iterable[int], step: int = 1) -> list[int]:
    """``values`` and the numbers halfway between neighbours, all multiples of ``step``.

    If these are fewer than `FEWEST`, larger numbers are added: twice the largest with the number halfway
    to it, and then the next multiples of ``step``.
    """
    found = _with_halves(values, step)
    if len(found) < FEWEST:
        found = _with_halves([*found, 2 * found[-1]], step)
    while len(found) < FEWEST:
        found.append(found[-1] + step)
    return found


def _with_halves(values: Iterable[int], step: int) -> list[int]:
    found = sorted(set(values))
    return sorted({*found, *((a + b) // 2 // step * step for a, b in pairwise(found))})


def regimes(depths: Sequence[int], batches: Sequence[int], peak_bytes: Mapping[Pair, int]) -> list[Regime]:
    """For every range of ``batches``, the longest ranges of ``depths`` with which it is a regime."""
    triples = [batches[k : k + 3] for k in range(len(batches) - 2)]
    bends = {
        depth: [_bends(triple, [peak_bytes[depth, batch] for batch in triple]) for triple in triples]
        for depth in depths
    }
    found = []
    for first, last in combinations(range(len(batches)), 2):
        if last - first + 1 >= FEWEST:
            straight = [depth for depth in depths if not any(bends[depth][first : last - 1])]
            ends = (batches[first], batches[last])
            for run in _runs(depths, set(straight), ends, peak_bytes):
                if len(run) >= FEWEST:
                    found.append(Regime(tuple(run), tuple(batches[first : last + 1])))
    return found


def _runs(
    depths: Sequence[int],
    straight: set[int],
    ends: tuple[int, int],
    peak_bytes: Mapping[Pair, int],
) -> list[list[int]]:
    """The longest runs of neighbouring ``straight`` depths whose peaks at both batches ``ends`` are linear.

    Peaks that are linear in n at each depth, and in ℓ at two batches, are linear in ℓ at all batches.
    """
    runs: list[list[int]] = [[]]
    for depth in depths:
        if depth not in straight:
            runs.append([])
            continue
        last = [*runs[-1][-2:], depth]
        if len(last) == 3 and any(_bends(last, [peak_bytes[d, batch] for d in last]) for batch in ends):
            runs.append(last[1:])
        else:
            runs[-1].append(depth)
    return runs


def _bends(xs: Sequence[int], ys: Sequence[int]) -> bool:
    """Whether the second of three points lies off the line through the other two."""
    return (ys[1] - ys[0]) * (xs[2] - xs[1]) != (ys[2] - ys[1]) * (xs[1] - xs[0])
