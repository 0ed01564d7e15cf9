"""Tables of what training retains, beside PyTorch: architectures, the terms of a transformer layer, and ops.

    python tests/retained.py      (or scripts/retained)

writes them as the evidence shows them. The table of ops needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter

from architectures import PUBLISHED
from saved_by_op import CASES, our_bytes, their_bytes
from transformer_layer import TERMS, Term, text, totals

from memtrain.planning.liveness import analyse
from memtrain.training.iteration import training


def markdown(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """A table of Markdown. Numbers have thousands separators."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in line] for line in lines]
    rule = ["---"] * len(heads)
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, rule, *cells])


def architectures() -> str:
    """The published architectures: parameters, retained bytes, and what PyTorch saves besides."""
    lines = []
    for published in PUBLISHED:
        model = published.build(published.batch)
        count = sum(node.size for node in model.trainable)
        kept = sum(node.nbytes for node in analyse(training(model, "sgd", 0.1)).most_retained)
        more = "; ".join(f"{words} ({size:,} B)" for words, size in published.more.items() if size > 4)
        lines.append((published.name, published.batch, count, kept, published.pytorch_bytes, more))
    heads = ("architecture", "batch", "parameters", "memtrain, B", "PyTorch, B", "what PyTorch saves besides")
    return markdown(heads, lines)


def transformer_layer() -> str:
    """The terms of a transformer layer, and their sums."""

    rows: dict[tuple[str, ...], list[Term]] = {}
    for term in TERMS:
        rows.setdefault((f"{term.part}: {term.value}", term.why), []).append(term)
    rows["all", ""] = list(TERMS)
    lines = [
        (value, *(text(totals(column, terms)) for column in ("paper", "ours", "pytorch")), why)
        for (value, why), terms in rows.items()
    ]
    return markdown(("retained value", "paper", "memtrain", "PyTorch", "why memtrain keeps less"), lines)


def ops() -> str:
    """What each op keeps, and why it is less than what PyTorch saves."""
    lines = [
        (case.name, ", ".join(map(_shape, case.values)) or "–", our_bytes(case), their_bytes(case), case.why)
        for case in CASES
    ]
    return markdown(("op", "x", "memtrain, B", "PyTorch, B", "why memtrain keeps less"), lines)


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def tables() -> Iterator[str]:
    """All tables, in the order of the evidence."""
    yield architectures()
    yield transformer_layer()
    yield ops()


def slowest_prediction_s() -> float:
    """The seconds that the slowest architecture takes to build, schedule and analyse."""
    found = []
    for published in PUBLISHED:
        start = perf_counter()
        analyse(training(published.build(published.batch), "sgd", 0.1))
        found.append(perf_counter() - start)
    return max(found)


def main() -> None:
    """Print the tables, and the time of the slowest prediction."""
    for table in tables():
        print(table, end="\n\n")
    print(f"The slowest of these architectures was predicted in {slowest_prediction_s():.2f} s.")


if __name__ == "__main__":
    main()
