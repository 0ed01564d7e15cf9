"""The findings of a sweep in sentences, computed from its rows and laws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memtrain.answers.axis_law import AnyVerdict
from memtrain.answers.engine_gap import engine_gaps
from memtrain.cells.cell import Cell, Mode
from memtrain.cells.columns import CELL_NAMES
from memtrain.cells.row import Row
from memtrain.explaining.folding import fold_names
from memtrain.planning.remat.policy import NONE
from memtrain.report.agreement import agreement, steadiness
from memtrain.report.engines import engine_sentences
from memtrain.report.frozen import frozen_sentences
from memtrain.report.history import history_sentences
from memtrain.report.laws import law_sentences
from memtrain.units import format_bytes, format_percent

Pair = dict[Mode, Row]
"""The rows of one cell."""


def findings(rows: Sequence[Row], laws: Sequence[AnyVerdict]) -> list[str]:
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


def summary(rows: Sequence[Row], laws: Sequence[AnyVerdict]) -> list[str]:
    """Sentences: the largest ratio, the values kept there, the laws, and the agreement of the meters."""
    varying = varying_fields(law.cell for law in laws)
    names = varying_fields(row.cell for row in rows)
    return [
        *_largest_ratio(rows, names),
        *history_sentences(pairs(rows).values(), peak_bytes, lambda cell: cell_name(cell, names)),
        *law_sentences(laws, varying),
        *engine_sentences(
            engine_gaps(rows), lambda cell: cell_name(cell, [name for name in names if name != "engine"])
        ),
        *frozen_sentences(rows, lambda cell: cell_name(cell, [name for name in names if name != "freeze"])),
        *_limits(rows),
        *statistics_sentences(row.cell for row in rows if row.mode is Mode.TRAIN and _divided(row.cell)),
        *agreement(rows),
        *steadiness(rows, cell_name),
    ]


def statistics_sentences(cells: Iterable[Cell]) -> list[str]:
    """How often an iteration of training updates running statistics, if any of the cells has some."""
    counts = [cell.accumulate for cell in cells if cell.network.updates_statistics]
    if not counts:
        return []
    once = "once for each micro-batch" if max(counts) > 1 else "once in each iteration"
    return [f"Forward updates the running statistics {once}. Recomputation does not update them again."]


def _divided(cell: Cell) -> bool:
    """Whether an iteration computes some values of forward more than once."""
    return cell.accumulate > 1 or cell.policy != NONE


def pairs(rows: Iterable[Row]) -> dict[Cell, Pair]:
    """The rows of each cell by mode, in the order of the rows."""
    found: dict[Cell, Pair] = {}
    for row in rows:
        found.setdefault(row.cell, {})[row.mode] = row
    return found


def main_row(pair: Pair) -> Row:
    """The row that represents a cell: the one of training, if there is one."""
    return next(pair[mode] for mode in Mode if mode in pair)


def varying_fields(cells: Iterable[Cell]) -> list[str]:
    """The columns besides depth and batch in which cells differ. Families without a column do not count."""
    seen = list(cells)
    names = [name for name in CELL_NAMES if name not in ("depth", "batch")]
    return [name for name in names if len({cell[name] for cell in seen} - {None}) > 1]


def peak_bytes(row: Row | None) -> int | None:
    """The ledger peak of a row; without it, the predicted peak; without both, the heap peak."""
    if row is None:
        return None
    peaks = (row[f"{figure}_peak_bytes"] for figure in ("ledger", "predicted", "heap"))
    return next((peak for peak in peaks if peak is not None), None)


def ratio(pair: Pair) -> float | None:
    """Training peak ÷ inference peak."""
    train, infer = peak_bytes(pair.get(Mode.TRAIN)), peak_bytes(pair.get(Mode.INFER))
    return train / infer if train is not None and infer else None


def cell_name(cell: Cell, varying: Iterable[str] = ()) -> str:
    """The name of a cell for people: depth, batch, and the ``varying`` columns."""
    others = "".join(f", {name} {cell.columns()[name]}" for name in varying if cell[name] is not None)
    return f"depth {cell['depth']}, batch {cell.batch:,}{others}"


def row_line(row: Row) -> str:
    """A row as a line of progress: the cell, and its peaks or the reason why it has none."""
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
    peak = peak_bytes(train)
    return [
        f"The ratio is largest at {cell_name(train.cell, varying)}: training needs {format_bytes(peak)}, "
        f"{value:.1f} × the {format_bytes(peak_bytes(infer))} of inference.",
        *([_kept(train, peak)] if peak and train["retained_bytes"] else []),
    ]


def _kept(row: Row, peak: int) -> str:
    """Sentences on the values that forward keeps for backward, and on their live bytes at the peak."""
    names = " and ".join(fold_names(row.kept).rsplit(", ", 1))
    retained, live = row["retained_bytes"], row["peak_retained_bytes"]
    kept = f"There, forward keeps {names} for backward: {format_bytes(retained)}"
    if live is None:
        sentence = f"{kept}."
    elif live == retained:
        sentence = f"{kept}, {format_percent(live / peak)} of the training peak."
    elif live:
        share = format_percent(live / peak)
        sentence = f"{kept}. At the peak, {format_bytes(live)} of kept values are live, {share} of the peak."
    else:
        sentence = f"{kept}. At the peak, in the {row['peak_phase']} phase, no kept values are live."
    return f"{sentence} Inference keeps nothing."


def _limits(rows: Sequence[Row]) -> list[str]:
    """For each memory limit: in how many cells training and inference run, and in which cells they do not."""
    sentences = []
    for limit in dict.fromkeys(row.cell.memory_limit_bytes for row in rows):
        if limit is None:
            continue
        of_limit = [row for row in rows if row.cell.memory_limit_bytes == limit]
        parts = [
            f"{mode.noun} runs {_runs(of_mode)}"
            for mode in Mode
            if (of_mode := [row for row in of_limit if row.mode is mode])
        ]
        foreseen = all(row["ledger_peak_bytes"] is None and row.ok for row in rows)
        within = f"{'Predicted: within' if foreseen else 'Within'} {format_bytes(limit)}"
        sentences.append(f"{within}, {' and '.join(parts)}.")
    return sentences


def _runs(rows: Sequence[Row]) -> str:
    """In how many cells of one mode the rows run within their memory limit."""
    cells: dict[bool | None, list[str]] = {True: [], False: [], None: []}
    for row in rows:
        cells[_fits(row)].append(f"{row.cell['depth']}×{row.cell.batch}")
    others = [
        f"{words} {', '.join(names)}"
        for words, names in (("not in", cells[False]), ("unknown for", cells[None]))
        if names
    ]
    inner = f" ({'; '.join(others)})" if others else ""
    return f"in {len(cells[True])} of {len(rows)} cells{inner}"


def _fits(row: Row) -> bool | None:
    """Whether the predicted peak of a row fits into its limit; ``None`` if the row failed otherwise."""
    predicted, limit = row["predicted_peak_bytes"] or 0, row.cell.memory_limit_bytes or 0
    if row.ok:
        return predicted <= limit
    return False if row["status"] == "memory_limit" and predicted > limit else None
