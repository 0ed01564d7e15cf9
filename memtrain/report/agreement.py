"""Sentences on the meters: whether they agree, and how far repeated figures vary."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memtrain.cells.cell import Cell
from memtrain.cells.engine import TORCH
from memtrain.cells.row import TOLERANCES, Row, tolerance
from memtrain.models.network import FeedKind
from memtrain.units import format_bytes, format_percent

COPIES = "Inside a convolution, PyTorch makes copies of its own. Only the meters see them."
"""A fact about PyTorch on the CPU: oneDNN changes the layout of float32; float64 is unfolded."""

OBJECTS = (
    "An unrolled network has thousands of autograd's functions. PyTorch's objects for them are in the heap."
)


def steadiness(rows: Sequence[Row], cell_name: Callable[[Cell], str]) -> list[str]:
    """For repeated measurements: how far their figures vary, and the figures that vary more than promised."""
    repeated = [row for row in rows if row["repeat_count"] is not None]
    if not repeated:
        return []
    parts, unsteady = [], []
    for meter in ("ledger", *TOLERANCES):
        spreads = [(row, spread) for row in repeated if (spread := row.spread_bytes(meter)) is not None]
        largest = max((spread for _, spread in spreads), default=0)
        if spreads:
            parts.append(f"{meter} by up to {format_bytes(largest)}" if largest else f"{meter} not at all")
        unsteady += [
            f"{meter} of {cell_name(row.cell)}, {row.mode}: {format_bytes(spread)}"
            for row, spread in spreads
            if not row.steady(meter)
        ]
    times = [
        row["step_spread_s"] / row["step_s"]
        for row in repeated
        if row["step_spread_s"] is not None and row["step_s"]
    ]
    if times:
        parts.append(f"time by up to {format_percent(max(times))} of its median")
    count = max(row["repeat_count"] or 0 for row in repeated)
    sentences = [f"Over {count} repetitions, the figures of a row vary: {', '.join(parts)}."]
    if unsteady:
        sentences.append(
            "Some figures vary MORE than promised (close other programs and measure again): "
            f"{'; '.join(unsteady)}."
        )
    return sentences


def agreement(rows: Sequence[Row]) -> list[str]:
    """Whether the meters agree as promised, and the largest differences."""
    measured = [row for row in rows if row["ledger_peak_bytes"] is not None]
    if not measured:
        return []
    exact = sum(row["ledger_peak_bytes"] == row["predicted_peak_bytes"] for row in measured)
    differences = {
        meter: [abs(off) for row in measured if (off := row.difference_bytes(meter)) is not None]
        for meter in TOLERANCES
    }
    largest = {meter: format_bytes(max(found)) for meter, found in differences.items() if found}
    far = {meter: [row for row in measured if row.agrees(meter) is False] for meter in largest}
    failed = sum(not row.ok for row in measured)
    if exact < len(measured) or any(far.values()):
        verdict = "The meters do NOT all agree."
    elif failed:
        verdict = f"{failed} of {len(measured)} measured rows failed. Their existing figures agree."
    else:
        verdict = "The meters agree."
    rows_in_words = f"all {exact}" if exact == len(measured) > 1 else f"{exact} of {len(measured)}"
    sentences = [verdict, f"The ledger equals the prediction in {rows_in_words} rows."]
    near = [f"{meter} peak is at most {largest[meter]}" for meter in largest if not far[meter]]
    if near:
        sentences.append(f"The {' and the '.join(near)} from the ledger: within the tolerance.")
    sentences += [
        _far([row for row in found if row.cell.engine == engine], meter, len(differences[meter]))
        for meter, found in far.items()
        for engine in dict.fromkeys(row.cell.engine for row in found)
    ]
    return [" ".join(sentences)]


def _far(rows: Sequence[Row], meter: str, count: int) -> str:
    """Sentences on the rows of one engine, among ``count``, whose meter is farther off than promised."""
    engine = rows[0].cell.engine
    largest = format_bytes(max(abs(row.difference_bytes(meter) or 0) for row in rows))
    sentence = (
        f"In {len(rows)} of {count} rows, the {meter} peak is farther from the ledger than the tolerance of "
        f"{tolerance(meter, engine)}; the largest difference is {largest}."
    )
    if meter == "heap" and engine == TORCH and all(row.cell.network.reads is FeedKind.IMAGE for row in rows):
        sentence += f" {COPIES}"
    if meter == "heap" and engine == TORCH and all(row.cell["unit"] for row in rows):
        sentence += f" {OBJECTS}"
    if meter == "heap" and all(row.cell.threads > 1 for row in rows):
        sentence += " With more than one thread, BLAS requests memory of its own."
    return sentence
