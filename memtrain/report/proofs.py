"""Sections with the proof by arrays full of NaN, and with the second order."""

from __future__ import annotations

from collections.abc import Iterator

from memtrain.explaining.folding import fold_names, in_order
from memtrain.explaining.proof import Proof
from memtrain.explaining.second import SecondOrder
from memtrain.report.section import Section, folded_lines
from memtrain.units import format_bytes, format_count, format_flops, format_seconds


def proof_section(proof: Proof) -> Section:
    """The gradients that differ when a kept array is spoiled, and the verdict."""
    lines = folded_lines(
        proof.needed,
        lambda entry: entry.nbytes,
        lambda entry: (entry.name, f"{entry.nbytes:,}", fold_names(entry.changes) or "none"),
        3,
    )
    verdict = (
        "Proved: each of these arrays is needed, and no other. When every array is filled with NaN before "
        "and after its life, no gradient differs in any bit."
    )
    heads = ("filled with NaN", "bytes", "gradients that differ")
    return Section("The proof", heads, lines, frozenset({0, 2}), proof.failures() or [verdict], text=2)


def second_sections(second: SecondOrder) -> Iterator[Section]:
    """The second-order graph beside the first-order one, and all arrays that are live at its peak."""
    lines, timed = [], second.first_work.seconds is not None
    for name, liveness, work, kept in (
        ("gradient", second.first, second.first_work, second.first_kept),
        ("Hessian · v", second.second, second.second_work, second.second_kept),
    ):
        names = fold_names(sorted(kept, key=in_order))
        kept_bytes = format_bytes(sum(node.nbytes for node in kept))
        figures = [format_bytes(liveness.peak_bytes), format_flops(work.flops), kept_bytes]
        if timed:
            figures.insert(2, format_seconds(work.seconds))
        lines.append((name, *figures, names))
    title = "Second order: the Hessian times a direction v, as ∂(g·v)/∂W"
    heads = ("", "peak", "FLOPs", *(["time"] if timed else []), "kept", "kept values")
    words = frozenset({0, len(heads) - 1})
    yield Section(title, heads, lines, words, [_ratios(second)], text=len(heads) - 1, spare=(2,))
    yield _at_peak(second)


def _ratios(second: SecondOrder) -> str:
    first, product = second.first_work, second.second_work
    words = f"Hessian · v takes {format_count(product.flops / first.flops)} × the FLOPs of the gradient"
    if first.seconds and product.seconds:
        ratio = format_count(product.seconds / first.seconds)
        words += f" and {ratio} × its time, as predicted for one thread of this machine"
    return f"{words}. Forward is part of both."


def _at_peak(second: SecondOrder) -> Section:
    """All arrays that are live at the peak of the product; the bytes add up to the peak."""
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
    return Section("", ("at the peak", step, "bytes"), lines, frozenset({0, 1}), [_checked(second)], text=1)


def _checked(second: SecondOrder) -> str:
    if second.relative_error is None:
        return f"The product was not checked: {second.unchecked}."
    verdict = "agrees with" if second.ok else "is WRONG: it differs from"
    return (
        f"Checked: the product {verdict} central differences of the gradient "
        f"{'to' if second.ok else 'by'} {second.relative_error:.0e} (relative, float64)."
    )
