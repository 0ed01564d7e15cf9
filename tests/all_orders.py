"""An oracle for plans in any order: how much cheaper they are than memory-persistent plans.

A plan in any order may drop a kept value before its backward, and recompute it. Run as a program, the module
prints the figures of the README: ``python tests/all_orders.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random

from plan_oracle import simulate

from memtrain.planning.remat.planner import plan_within
from memtrain.planning.remat.stage import Stage


def simple_chain(costs: Sequence[int], sizes: Sequence[int]) -> list[Stage]:
    """Stages of which only the outputs are held. The last stage has no output."""
    outputs = [*sizes, 0]
    return [
        Stage(cost, 0, output, 0, output, given + output, output, 0, 0, 0)
        for cost, output, given in zip(costs, outputs, [0, *outputs], strict=False)
    ]


def cheapest_of_all_orders(costs: Sequence[int], sizes: Sequence[int], budget_bytes: int) -> int | None:
    """The least cost if any value may be freed at any time and recomputed: Dijkstra over the held values.

    Value k (from 1) is computed from value k − 1 at the cost c_k, and both are live then. Value 0 has no cost
    and no bytes. The backward of stage k needs value k − 1. The last stage is computed before its backward,
    and has no value.
    """
    last = len(costs)
    start = (
        frozenset({0}),
        last,
        False,
    )  # held values, next backward, whether the last stage was computed
    best, heap = {start: 0}, [(0, 0, start)]
    held = [0, *sizes]
    while heap:
        cost, _, state = heappop(heap)
        values, waiting, finished = state
        if not waiting:
            return cost
        if cost > best[state]:
            continue
        following = [(0, (values - {k}, waiting, finished)) for k in values if k]
        following += [
            (costs[k], (values | {k + 1}, waiting, finished))
            for k in values
            if k + 1 < waiting and k + 1 not in values
        ]
        if waiting - 1 in values:
            if finished:
                following.append((0, (values, waiting - 1, True)))
            else:
                following.append((costs[-1], (values, waiting, True)))
        for more, other in following:
            fits = sum(held[k] for k in other[0]) <= budget_bytes
            if fits and cost + more < best.get(other, cost + more + 1):
                best[other] = cost + more
                heappush(heap, (cost + more, len(best), other))
    return None


def cheapest_persistent(costs: Sequence[int], sizes: Sequence[int], budget_bytes: int) -> int | None:
    """The least cost of memory-persistent plans, which keep each kept value until its backward."""
    stages = simple_chain(costs, sizes)
    moves = plan_within(stages, budget_bytes)
    return None if moves is None else simulate(stages, moves).cost


@dataclass(frozen=True)
class Comparison:
    """One chain, with one budget that is too small to keep all."""

    costs: tuple[int, ...]
    sizes: tuple[int, ...]
    budget_bytes: int
    of_all: int
    """The least cost of plans in any order."""
    persistent: int
    """The least cost of memory-persistent plans."""

    @property
    def saving(self) -> float:
        """The saving of the best order, as a share of the whole cost of forward steps."""
        return 1 - self.of_all / self.persistent

    @property
    def extra_saving(self) -> float:
        """The saving of the best order, as a share of the cost of recomputations only."""
        again = self.persistent - sum(self.costs)
        return (self.persistent - self.of_all) / again if again else 0.0


def compare_with_all_orders(count: int, seeds: range) -> Iterator[Comparison]:
    """Random chains, each with every budget that is enough for some order, but not to keep all."""
    for seed in seeds:
        rng = Random(f"orders {count} {seed}")
        costs = tuple(rng.randint(1, 10) for _ in range(count))
        sizes = tuple(rng.randint(1, 10) for _ in range(count - 1))
        for budget_bytes in range(1, sum(sizes)):
            of_all = cheapest_of_all_orders(costs, sizes, budget_bytes)
            persistent = cheapest_persistent(costs, sizes, budget_bytes)
            assert (of_all is None) == (persistent is None)  # both need the same least bytes
            if of_all is not None:
                yield Comparison(costs, sizes, budget_bytes, of_all, persistent)


def inner_chain(costs: Sequence[int], sizes: Sequence[int], inner: Sequence[int]) -> list[Stage]:
    """Stages with outputs and inner values, which only the backward of the same stage reads."""
    outputs = [*sizes, 0]
    return [
        Stage(cost, cost, output, own, output, given + output, output + own, own, 0, own)
        for cost, output, own, given in zip(costs, outputs, inner, [0, *outputs], strict=False)
    ]


NOTHING, OUTPUT, WHOLE = range(3)


def cheapest_of_all_orders_of_inner(
    costs: Sequence[int], sizes: Sequence[int], inner: Sequence[int], budget_bytes: int
) -> int | None:
    """`cheapest_of_all_orders` for stages of which nothing, the output, or everything is held."""
    last, held = len(costs), [0, *sizes, 0]

    def nbytes(state: tuple[tuple[int, ...], int, bool]) -> int:
        kept, waiting, _ = state
        return sum(
            (inner[k - 1] if what == WHOLE else 0) + (held[k] if k < waiting else 0)
            for k, what in enumerate(kept)
            if what and k
        )

    def changed(kept: tuple[int, ...], k: int, what: int) -> tuple[int, ...]:
        return (*kept[:k], what, *kept[k + 1 :])

    start = ((OUTPUT, *[NOTHING] * last), last, False)
    best, heap = {start: 0}, [(0, 0, start)]
    while heap:
        cost, _, state = heappop(heap)
        kept, waiting, finished = state
        if not waiting:
            return cost
        if cost > best[state]:
            continue
        following = [
            (0, (changed(kept, k, what), waiting, finished))
            for k in range(1, last + 1)
            for what in range(kept[k])
        ]
        for k in range(min(last, waiting)):
            if kept[k] and k + 1 == last and waiting == last:
                following.append((costs[k], (changed(kept, last, WHOLE), waiting, True)))
            elif kept[k] and k + 1 < last:
                more = range(kept[k + 1] + 1, WHOLE + 1)
                following += [(costs[k], (changed(kept, k + 1, what), waiting, finished)) for what in more]
        if kept[waiting - 1] and kept[waiting] == WHOLE and (finished or waiting < last):
            following.append((0, (changed(kept, waiting, NOTHING), waiting - 1, finished)))
        for more, other in following:
            if nbytes(other) <= budget_bytes and cost + more < best.get(other, cost + more + 1):
                best[other] = cost + more
                heappush(heap, (cost + more, len(best), other))
    return None


def compare_with_all_orders_of_inner(count: int, seeds: range) -> Iterator[Comparison]:
    """`compare_with_all_orders` for chains with inner values."""
    for seed in seeds:
        rng = Random(f"inner {count} {seed}")
        costs, inner = (tuple(rng.randint(1, 10) for _ in range(count)) for _ in range(2))
        sizes = tuple(rng.randint(1, 10) for _ in range(count - 1))
        stages = inner_chain(costs, sizes, inner)
        for budget_bytes in range(1, sum(sizes) + sum(inner)):
            of_all = cheapest_of_all_orders_of_inner(costs, sizes, inner, budget_bytes)
            moves = plan_within(stages, budget_bytes)
            assert (of_all is None) == (moves is None)
            if of_all is not None:
                yield Comparison(costs, sizes, budget_bytes, of_all, int(simulate(stages, moves).cost))


def main() -> None:
    """Print how much plans in any order save: the figures of the README."""
    for title, compare, sizes in (
        ("outputs only", compare_with_all_orders, ((4, 2000), (6, 1000), (8, 400), (10, 50))),
        ("with inner values", compare_with_all_orders_of_inner, ((3, 500), (4, 300), (5, 60))),
    ):
        print(title)
        for count, chains in sizes:
            _print_savings(count, chains, list(compare(count, range(chains))))


def _print_savings(count: int, chains: int, found: list[Comparison]) -> None:
    better = [pair for pair in found if pair.of_all < pair.persistent]
    share = len(better) / len(found)
    line = f"{count} stages, {chains} chains: {len(better)} of {len(found)} pairs ({share:.2%})"
    if better:
        savings = [pair.saving for pair in better]
        extra = [pair.extra_saving for pair in better]
        line += (
            f", there {sum(savings) / len(better):.1%} of the cost saved (most {max(savings):.1%}), "
            f"{sum(extra) / len(better):.1%} of what is computed again (most {max(extra):.1%})"
        )
    print(line, flush=True)


if __name__ == "__main__":
    main()
