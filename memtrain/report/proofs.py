"""What proves an explanation, as plain data: spoiled arrays, and the second-order graph checked."""

from __future__ import annotations

from collections.abc import Iterator

from memtrain.explaining.folding import fold_names, in_order
from memtrain.explaining.proof import Proof
from memtrain.explaining.second import SecondOrder
from memtrain.report.section import Section, folded_lines
from memtrain.units import format_bytes


def proof_section(proof: Proof) -> Section:
    """What changes when a retained array is lost, and that nothing else is missed."""
    lines = folded_lines(
        proof.needed,
        lambda entry: entry.nbytes,
        lambda entry: (entry.name, f"{entry.nbytes:,}", fold_names(entry.changes) or "none"),
        3,
    )
    verdict = "Proved: each is needed; and with every storage NaN when made and when freed no bit differs."
    heads = ("filled with NaN", "bytes", "gradients that differ")
    return Section("The proof", heads, lines, frozenset({0, 2}), proof.failures() or [verdict])


def second_sections(second: SecondOrder) -> Iterator[Section]:
    """The second-order graph beside the first-order one, and all that stands at its peak."""
    lines = []
    for name, liveness, kept in (
        ("gradient", second.first, second.first_kept),
        ("Hessian · v", second.second, second.second_kept),
    ):
        names = fold_names(sorted(kept, key=in_order))
        kept_bytes = format_bytes(sum(node.nbytes for node in kept))
        lines.append((name, format_bytes(liveness.peak_bytes), names, kept_bytes))
    title = "Second order: the Hessian times a direction v, as ∂(g·v)/∂W"
    yield Section(title, ("", "peak", "kept for it", "bytes"), lines, frozenset({0, 2}))
    yield _at_peak(second)


def _at_peak(second: SecondOrder) -> Section:
    """All that stands at the peak of the product; the bytes add up."""
    liveness = second.second
    step = f"step {liveness.peak_step}" + (f", {node.name}" if (node := liveness.peak_node) else "")
    lines = []
    for entry in second.second_standing:
        names = fold_names(sorted(entry.names, key=in_order))
        if entry.number_count:
            counted = f"{entry.number_count} number{'s' if entry.number_count > 1 else ''}"
            names = f"{names}, {counted}" if names else counted
        lines.append((entry.purpose, names, f"{entry.bytes:,}"))
    lines.append(("all", "", f"{liveness.peak_bytes:,}"))
    return Section("", ("at the peak", step, "bytes"), lines, frozenset({0, 1}), [_checked(second)])


def _checked(second: SecondOrder) -> str:
    if second.relative_error is None:
        return f"The product was not checked: {second.unchecked}."
    verdict = "agrees with" if second.ok else "is WRONG: it differs from"
    return (
        "Checked near the start values, in float64, where no unit changes sides within the step: the "
        f"product {verdict} central differences of the gradient; "
        f"relative error {second.relative_error:.0e}."
    )
