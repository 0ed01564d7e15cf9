"""The findings of a sweep as sentences, computed from its rows and laws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memtrain.answers.law import Verdict
from memtrain.cells.cell import Cell, Mode
from memtrain.cells.columns import CELL_NAMES
from memtrain.cells.row import TOLERANCES, Row
from memtrain.explaining.folding import fold_names
from memtrain.report.laws import law_sentences
from memtrain.units import format_bytes

Pair = dict[Mode, Row]
"""The rows of one cell."""


def findings(rows: Sequence[Row], laws: Sequence[Verdict]) -> list[str]:
    """Sentences: the summary, and one for each row that failed."""
    names = varying_fields(row.cell for row in rows)
    return [
        *summary(rows, laws),
        *(
            f"{cell_name(row.cell, names)}, {row.mode}: {row['status']}: {row['reason']}"
            for row in rows
            if not row.ok
        ),
    ]


def summary(rows: Sequence[Row], laws: Sequence[Verdict]) -> list[str]:
    """Sentences: the largest ratio, what is kept there, the laws, and the agreement of the figures."""
    varying = varying_fields(law.cell for law in laws)
    names = varying_fields(row.cell for row in rows)
    return [
        *_largest_ratio(rows, names),
        *law_sentences(laws, varying),
        *_limits(rows),
        *_agreement(rows),
        *_steadiness(rows),
    ]


def pairs(rows: Iterable[Row]) -> dict[Cell, Pair]:
    """The rows of each cell by mode, in the order of the rows."""
    found: dict[Cell, Pair] = {}
    for row in rows:
        found.setdefault(row.cell, {})[row.mode] = row
    return found


def main_row(pair: Pair) -> Row:
    """The row that stands for a cell: the one of training, if there is one."""
    return pair.get(Mode.TRAIN) or pair[Mode.INFER]


def varying_fields(cells: Iterable[Cell]) -> list[str]:
    """The columns in which cells differ, besides depth and batch. Families without a column do not count."""
    seen = list(cells)
    names = [name for name in CELL_NAMES if name not in ("depth", "batch")]
    return [name for name in names if len({cell[name] for cell in seen} - {None}) > 1]


def peak_bytes(row: Row | None) -> int | None:
    """The ledger peak of a row; the predicted peak if nothing was run."""
    if row is None:
        return None
    ledger: int | None = row["ledger_peak_bytes"]
    predicted: int | None = row["predicted_peak_bytes"]
    return predicted if ledger is None else ledger


def ratio(pair: Pair) -> float | None:
    """Training peak ÷ inference peak."""
    train, infer = peak_bytes(pair.get(Mode.TRAIN)), peak_bytes(pair.get(Mode.INFER))
    return train / infer if train is not None and infer else None


def cell_name(cell: Cell, varying: Iterable[str] = ()) -> str:
    """The name of a cell for people: depth, batch, and what else varies."""
    others = "".join(f", {name} {cell.columns()[name]}" for name in varying if cell[name] is not None)
    return f"depth {cell['depth']}, batch {cell.batch:,}{others}"


def row_line(row: Row) -> str:
    """A row as a line of progress: the cell, and its peaks or the reason why there are none."""
    figures = row.figures
    peaks = ", ".join(
        f"{meter} {peak:,} B"
        for meter in ("predicted", "ledger", "heap", "resident")
        if (peak := figures[f"{meter}_peak_bytes"]) is not None
    )
    said = "" if row.ok else f"; {figures['status']}: {figures['reason']}"
    return f"{cell_name(row.cell)}, {row.mode}: {peaks}{said}"


def _largest_ratio(rows: Sequence[Row], varying: Sequence[str]) -> list[str]:
    both = [(value, pair) for pair in pairs(rows).values() if (value := ratio(pair)) is not None]
    if not both:
        return []
    value, pair = max(both, key=lambda found: found[0])
    train, infer = pair[Mode.TRAIN], pair[Mode.INFER]
    peak, retained = peak_bytes(train), train["retained_bytes"]
    sentences = [
        f"The ratio is largest at {cell_name(train.cell, varying)}: training needs {format_bytes(peak)}, "
        f"{value:.1f} × the {format_bytes(peak_bytes(infer))} of inference."
    ]
    if peak and retained:
        kept = fold_names(train.kept)
        standing = train["peak_retained_bytes"]
        share = "" if standing is None else f"; {standing / peak:.0%} of the training peak is that"
        if standing == 0:
            share = "; the peak comes later, when backward has read and freed them"
        sentences.append(
            f"Kept there from forward until backward has read it: {kept} = {format_bytes(retained)}{share}. "
            "Inference keeps nothing."
        )
    return sentences


def _limits(rows: Sequence[Row]) -> list[str]:
    """For each memory limit: in how many cells training and inference run within it, and in which not."""
    sentences = []
    for limit in dict.fromkeys(row.cell.memory_limit_bytes for row in rows):
        if limit is None:
            continue
        parts = []
        for mode in Mode:
            of_mode = [row for row in rows if row.cell.memory_limit_bytes == limit and row.mode is mode]
            cells: dict[bool | None, list[str]] = {True: [], False: [], None: []}
            for row in of_mode:
                cells[_fits(row)].append(f"{row.cell['depth']}×{row.cell.batch}")
            others = [
                f"{what} {', '.join(names)}"
                for what, names in (("not in", cells[False]), ("not known of", cells[None]))
                if names
            ]
            if of_mode:
                inner = f" ({'; '.join(others)})" if others else ""
                parts.append(f"{mode.noun} runs in {len(cells[True])} of {len(of_mode)} cells{inner}")
        foreseen = all(row["ledger_peak_bytes"] is None and row.ok for row in rows)
        sentences.append(
            f"Within {format_bytes(limit)}{', as predicted,' if foreseen else ''} {', '.join(parts)}."
        )
    return sentences


def _fits(row: Row) -> bool | None:
    """Whether a cell fits into its limit, as measured or else predicted; ``None`` if it failed otherwise."""
    predicted, limit = row["predicted_peak_bytes"] or 0, row.cell.memory_limit_bytes or 0
    if row.ok:
        return predicted <= limit
    return False if row["status"] == "memory_limit" and predicted > limit else None


def _steadiness(rows: Sequence[Row]) -> list[str]:
    """For repeated figures: how far they spread, and where they spread more than promised."""
    repeated = [row for row in rows if row["repeat_count"] is not None]
    if not repeated:
        return []
    parts, unsteady = [], []
    for meter in ("ledger", *TOLERANCES):
        spreads = {
            i: spread for i, row in enumerate(repeated) if (spread := row.spread_bytes(meter)) is not None
        }
        if spreads:
            largest = max(spreads.values())
            parts.append(f"{meter} within {format_bytes(largest)}" if largest else f"{meter} the same bytes")
        for i, spread in spreads.items():
            row = repeated[i]
            if not row.steady(meter):
                unsteady.append(f"{meter} of {cell_name(row.cell)}, {row.mode}: {format_bytes(spread)}")
    times = [
        row["step_spread_s"] / row["step_s"]
        for row in repeated
        if row["step_spread_s"] is not None and row["step_s"]
    ]
    if times:
        parts.append(f"time within {max(times):.0%} of the median")
    count = max(row["repeat_count"] or 0 for row in repeated)
    sentences = [f"In {count} repetitions: {'; '.join(parts)}."]
    if unsteady:
        wider = "; ".join(unsteady)
        sentences.append(f"Spread WIDER than promised (close other programs and try again): {wider}.")
    return sentences


def _agreement(rows: Sequence[Row]) -> list[str]:
    """The number of rows whose figures agree as promised, and the largest differences."""
    measured = [row for row in rows if row["ledger_peak_bytes"] is not None]
    if not measured:
        return []
    exact = sum(row["ledger_peak_bytes"] == row["predicted_peak_bytes"] for row in measured)
    parts, all_agree = [f"predicted = ledger in {exact} of {len(measured)} rows"], exact == len(measured)
    for meter, tolerance in TOLERANCES.items():
        found = [off for row in measured if (off := row.difference_bytes(meter)) is not None]
        if not found:
            continue
        near = sum(bool(row.agrees(meter)) for row in measured)
        parts.append(
            f"{meter} within {tolerance} in {near} of {len(found)}, at most "
            f"{format_bytes(max(map(abs, found)))} off"
        )
        others = [row.cell.threads for row in measured if row.agrees(meter) is False]
        if meter == "heap" and others and min(others) > 1:
            parts[-1] += " (with more than one thread, for which BLAS requests memory of its own)"
        all_agree = all_agree and near == len(found)
    failed = sum(not row.ok for row in measured)
    if not all_agree:
        said = "The meters do NOT all agree"
    elif failed:
        said = f"{failed} of {len(measured)} rows have failed; the figures that there are agree"
    else:
        said = "The meters agree"
    return [f"{said}: {'; '.join(parts)}."]
