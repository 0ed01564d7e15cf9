"""Laws in sentences. Each law, and each reason why there is none, is stated once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from math import ceil, prod

from memtrain.answers.axis_law import AnyVerdict, AxisLaw
from memtrain.answers.law import Law, NoLaw, Verdict
from memtrain.cells.cell import Cell, Mode
from memtrain.models.network import Network
from memtrain.units import format_count


def law_sentences(verdicts: Sequence[AnyVerdict], names: Sequence[str]) -> list[str]:
    """A text for each law, and one for each reason why there is none. Cells differ in columns ``names``."""
    layered = [verdict for verdict in verdicts if not isinstance(verdict, AxisLaw)]
    others = [_axis_text(law, names) for law in verdicts if isinstance(law, AxisLaw)]
    return [*others, *_layer_sentences(layered, names)]


def _axis_text(law: AxisLaw, names: Sequence[str]) -> str:
    """Sentences: the peak as a polynomial of the swept number, its range, and its check."""
    axis, cell = law.axis.replace("_", " "), law.cell
    terms = [f"{format_count(law.linear_bytes)} B × {axis}", f"{format_count(law.base_bytes)} B"]
    if law.square_bytes:
        terms.insert(0, f"{format_count(law.square_bytes)} B × {axis}²")
    said = " + ".join(terms).replace("+ −", "− ").replace("+ -", "− ")
    others = [name for name in names if name != law.axis and cell[name] is not None]
    at = ", ".join([f"depth {cell['depth']}", f"batch {cell.batch:,}", *(f"{n} {cell[n]}" for n in others)])
    off = _percent(max(law.largest_error, law.hold_out_error, law.unseen_error))
    more = f", and checked with {law.unseen_count} more predictions" if law.unseen_count else ""
    return (
        f"Against the {axis}, the peak of {law.mode.noun} is {said}, at {at}, from {axis} {law.first:,} to "
        f"{law.last:,}. This law is fitted to the heap peaks of {law.count} cells ({law.probe_count} extra)"
        f"{more}: it is at most {off} off, even for a cell that is left out of the fit."
    )


def _layer_sentences(verdicts: Sequence[Verdict], names: Sequence[str]) -> list[str]:
    """A text for each law of depth and batch, then one for each reason.

    Groups of cells with the same law or reason share a text.
    """
    cells = {mode: [v.cell for v in verdicts if v.mode is mode] for mode in Mode}

    def of(alike: Iterable[Verdict]) -> str:
        told: dict[Mode, list[Cell]] = defaultdict(list)
        for verdict in alike:
            told[verdict.mode].append(verdict.cell)
        nouns: dict[str, list[str]] = defaultdict(list)
        for mode, found in told.items():
            all_of_them = len(found) == len(cells[mode])
            nouns["" if all_of_them else _which(found, names)].append(mode.noun)
        return " and ".join(f"{' and '.join(modes)}{which}" for which, modes in nouns.items())

    laws: dict[Hashable, list[Law]] = defaultdict(list)
    reasons: dict[str, list[NoLaw]] = defaultdict(list)
    for verdict in verdicts:
        if isinstance(verdict, Law):
            laws[verdict.mode, _cost(verdict, ""), _range(verdict), _basis(verdict)].append(verdict)
        else:
            reasons[verdict.reason].append(verdict)
    return [
        *(_law_text(alike, of(alike)) for alike in laws.values()),
        *(f"No law is stated for {of(alike)}: {reason}." for reason, alike in reasons.items()),
    ]


def _law_text(alike: Sequence[Law], of: str) -> str:
    """Sentences for equal laws: the bytes of an extra layer, the range of the law, and its check."""
    law = alike[0]
    off = max(max(law.largest_error, law.hold_out_error) for law in alike)
    sentences = [
        f"Each extra layer adds {_cost(law, of)}, {_range(law)}.",
        f"The law is fitted to the heap peaks of {_basis(law)}. For each of these cells it is at most "
        f"{_percent(off)} off, even if the cell is left out of the fit.",
    ]
    if law.unseen_count:
        unseen = _percent(max(law.unseen_error for law in alike))
        sentences.append(
            f"The predicted peaks of {law.unseen_count} more cells in this range are linear to {unseen}."
        )
    return " ".join(sentences)


def _cost(law: Law, of: str) -> str:
    """The bytes that an extra layer adds to ``of``: per example, and independent of the batch."""
    times = law.layer_bytes / _block_parameter_bytes(law.cell.network)
    owner = ""
    if round(times) and abs(times - round(times)) < 0.01:
        owner = f" ({round(times)} × its parameters)" if round(times) > 1 else " (its parameters)"
    fixed = f"{format_count(law.layer_bytes)} B{owner}"
    if not law.predicted_layer_example_bytes:  # then the fitted slope is the noise of the meter
        return f"a fixed {fixed} to {of} and nothing per example"
    return f"{format_count(law.layer_example_bytes)} B per example to {of}, plus a fixed {fixed}"


def _range(law: Law) -> str:
    (shallow, deep), (small, large) = law.depths, law.batches
    return f"from depth {shallow:,} to {deep:,} and batch {small:,} to {large:,}"


def _basis(law: Law) -> str:
    """The cells that the law was fitted to."""
    swept = len(law.cells) - len(law.probes)
    probes = f" and {len(law.probes)} extra cells" if law.probes else ""
    return f"{swept} of {swept + len(law.others)} cells{probes}"


def _which(cells: Sequence[Cell], names: Sequence[str]) -> str:
    """How ``cells`` differ from the others: `` (policy sqrt, revolve:4)``."""
    columns = [cell.columns() for cell in cells]
    values = {name: list(dict.fromkeys(str(column[name]) for column in columns)) for name in names}
    if prod(map(len, values.values())) == len(cells):  # every combination of them
        said = "; ".join(f"{name} {', '.join(found)}" for name, found in values.items())
    else:
        said = "; ".join(", ".join(f"{name} {column[name]}" for name in names) for column in columns)
    return f" ({said})" if said else ""


def _percent(error: float) -> str:
    """An error in percent, rounded up to three decimals, at least 0.001."""
    return f"{max(1, ceil(1e5 * error)) / 1000:g} %"


def _block_parameter_bytes(network: Network) -> int:
    """Bytes of the parameters of one extra block."""
    fewer, more = (network.changed(depth=depth).build(1).parameters for depth in (1, 2))
    return sum(node.nbytes for node in more) - sum(node.nbytes for node in fewer)
