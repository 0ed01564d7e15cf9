"""Ways to make a cell fit into a memory, in sentences: the answer, its costs, and notes."""

from __future__ import annotations

from memtrain.answers.obstacle import Obstacle
from memtrain.answers.option import Kind, Option, Ways, command_of, plan_command
from memtrain.cells.cell import SECONDS
from memtrain.cells.engine import NUMPY
from memtrain.explaining.folding import fold_names
from memtrain.graph.node import Role
from memtrain.report.findings import cell_name
from memtrain.units import format_bytes


def percent(share: float | None) -> str:
    """A share as a signed percentage: ``+12 %``."""
    return "" if share is None else f"{round(100 * share) + 0:+d} %"


def ways_sentences(ways: Ways) -> list[str]:
    """The answer, then the notes."""
    return [*answer_sentences(ways), *note_sentences(ways)]


def answer_sentences(ways: Ways) -> list[str]:
    """Sentences: the memory that training needs, the answer, and a faster way if there is one."""
    whole = (
        f"Without recomputation, training needs {format_bytes(ways.keep_all.predicted_peak_bytes)} "
        f"({cell_name(ways.cell)})."
    )
    return [f"{whole} {_answer(ways)}", *_faster(ways)]


def note_sentences(ways: Ways) -> list[str]:
    """Sentences on options that are left out, on the comparison of gradients, and on rules; then notes."""
    sentences = [
        f"{name} is left out: it needs {format_bytes(peak)}, {_why(name)}." for name, peak in ways.left_out
    ]
    changed = {name: option.cell[name] for option in ways.options for name in ways.changed_by(option)}
    if changed:
        settings = " and ".join(f"--{name} {value}" for name, value in changed.items())
        sentences.append(f"Training with {settings} leads to other parameters.")
    if any(not option.exact and option.differing is not None for option in ways.options):
        sentences.append(ROUNDED + (KINK if ways.cell["activation"] == "relu" else ""))
    rule = max(ways.rules, key=lambda option: option.abstract_count - option.executed_count, default=None)
    if rule is not None and rule.abstract_count > rule.executed_count:
        sentences.append(
            f"{rule.name} recomputes {rule.executed_count} stages, not the {rule.abstract_count} that the "
            f"literature counts: no later step would read the output of the others."
        )
    return sentences + [f"{option.name}: {note}" for option in ways.options for note in option.notes]


ROUNDED = (
    "Micro-batches add up the same gradients in another order, which rounds them differently. So they are "
    "compared in float64: the table shows the largest difference as a share of the largest entry."
)

KINK = (
    " In float32, rounding can also move a value of a ReLU from one side of 0 to the other; then gradients "
    "differ by more."
)


def advice(ways: Ways) -> str | None:
    """The command to run next; ``None`` if nothing has to be done or no memory was given."""
    if ways.chosen is not None:
        return None if ways.chosen.kind is Kind.KEEP_ALL else command_of(ways.chosen.cell)
    if ways.smaller is not None:
        return command_of(ways.smaller.cell)
    return None if ways.least_bytes is None else plan_command(ways.cell, ways.least_bytes)


def _answer(ways: Ways) -> str:
    """Sentences on the way to make the cell fit; without a memory, on the smallest plan."""
    least = ways.keep_all.least_bytes
    if ways.memory_bytes is None:
        return _no_smaller(ways) or f"The smallest plan needs {format_bytes(least)}."
    memory, chosen = format_bytes(ways.memory_bytes), ways.chosen
    if chosen is None:
        return f"Nothing fits into {memory}. {_what_would(ways)}"
    if chosen.kind is Kind.KEEP_ALL:
        return f"This fits into {memory}: nothing has to change."
    if chosen.kind is Kind.CHOSEN:
        count, again = len(chosen.values), sum(1 for _, times in chosen.values if times)
        return (
            f"A plan fits into {memory} (peak {_peak(chosen)}): it keeps {count - again} of the {count} "
            f"values that backward reads, and recomputes {again}. {_costs(chosen, ways.cell.cost)}"
        )
    not_enough = _no_smaller(ways) or (
        f"Recomputation alone is not enough for {memory}: the smallest plan needs {format_bytes(least)} "
        f"({least:,} B)."
    )
    costs = _costs(chosen, ways.cell.cost)
    return f"{not_enough} Training fits with {chosen.name} (peak {_peak(chosen)}). {costs}"


def _peak(option: Option) -> str:
    return format_bytes(option.predicted_peak_bytes)


def _costs(option: Option, cost: str) -> str:
    """A sentence on the time of an option, and on whether its gradients are the same."""
    words = f"An iteration takes {_time(option, cost)}"
    if option.differing is None:
        return f"{words}."
    if not option.same:
        return f"{words}; its gradients and parameters are NOT equal."
    if option.exact:
        return f"{words}; gradients and parameters are equal in every bit."
    return (
        f"{words}; gradients and parameters are equal up to rounding "
        f"({option.largest_difference:.0e} in float64)."
    )


def _time(option: Option, cost: str) -> str:
    """The extra time of an option: ``3 % more time (predicted), 4 % more time (measured)``."""
    words = f"{_more(option.predicted_extra, 'time' if cost == SECONDS else 'FLOPs')} (predicted)"
    if option.measured_extra is not None:
        words += f", {_more(option.measured_extra, 'time')} (measured)"
    return words


def _more(share: float, what: str) -> str:
    """An extra of time in words: ``3 % more time``."""
    percentage = round(100 * share)
    return (
        f"{abs(percentage)} % {'less' if percentage < 0 else 'more'} {what}"
        if percentage
        else f"the same {what}"
    )


def _no_smaller(ways: Ways) -> str:
    """Sentences for a cell whose peak no plan lowers: why, and which setting lowers it; otherwise empty."""
    if ways.cell.engine != NUMPY:
        return "Plans of recomputation are made for memtrain's own engine, and not for PyTorch."
    if ways.obstacle is None:
        return ""
    reason = f"No plan is smaller: {_obstacle(ways.obstacle)}"
    least = format_bytes(ways.keep_all.least_bytes)
    for lever in ways.levers:
        if lever.cell.policy == ways.cell.policy and lever.least_bytes < ways.keep_all.least_bytes:
            smaller = format_bytes(lever.least_bytes)
            return (
                reason
                if smaller == least
                else f"{reason} With {lever.name}, the smallest plan needs {smaller}."
            )
    return reason


_NOUNS = {
    Role.PARAMETER: "parameters",
    Role.GRADIENT: "gradients",
    Role.OPTIMIZER: "optimizer state",
    Role.INPUT: "inputs",
    Role.RETAINED: "kept values",
    Role.TRANSIENT: "transient arrays",
}


def _obstacle(obstacle: Obstacle) -> str:
    """Why recomputation cannot lower a peak."""
    if not obstacle.needed:
        return "each plan holds at least as much at some step."
    peak = sum(obstacle.role_bytes.values())
    largest = sorted(obstacle.role_bytes.items(), key=lambda entry: -entry[1])
    live = " and ".join(
        f"{format_bytes(count)} of {_NOUNS.get(role, role)}"
        for role, count in largest[:2]
        if 10 * count > peak
    )
    where = f"the peak is at step {obstacle.step} ({obstacle.phase}, {obstacle.node}), with {live}."
    if not obstacle.kept:
        return f"{where} Forward kept nothing that is live there, so recomputation cannot lower it."
    names = " and ".join(fold_names(obstacle.kept).rsplit(", ", 1))
    return f"{where} This part of backward needs all kept values that are still live: {names}."


def _faster(ways: Ways) -> list[str]:
    """A sentence on a lever that also fits, is predicted to be faster than the plan, and trains the same."""
    chosen = ways.chosen
    if chosen is None or chosen.kind is not Kind.CHOSEN:
        return []
    found = [
        option
        for option in ways.levers
        if option.predicted_peak_bytes <= (ways.memory_bytes or 0)
        and option.predicted_extra < chosen.predicted_extra
        and not ways.changed_by(option)
    ]
    best = min(found, key=lambda option: option.predicted_extra, default=None)
    if best is None or percent(best.predicted_extra) == percent(chosen.predicted_extra):
        return []
    why = "changes no setting" if best.exact else "leaves every bit of the gradients as it is"
    return [
        f"{best.name} fits too: an iteration takes {_time(best, ways.cell.cost)}. "
        f"The plan comes first because it {why}."
    ]


def _what_would(ways: Ways) -> str:
    """Sentences for a memory into which nothing fits: the needed memory, and the largest batch that fits."""
    words = (
        f"The parameters alone need {format_bytes(ways.parameter_bytes)}; with all options combined"
        f"{' and the smallest plan' if ways.cell.engine == NUMPY else ''}, training needs "
        f"{format_bytes(ways.least_bytes)} ({ways.least_bytes:,} B)."
    )
    if ways.most_accumulate is not None:
        words += f" More than {ways.most_accumulate:,} micro-batches were not tried."
    if ways.smaller is None:
        return f"{words} Not even a batch of one example fits."
    batch = ways.smaller.cell.batch
    all_tried = ways.most_accumulate is None or batch < ways.most_accumulate
    said = f"The largest batch that fits is {batch:,}" if all_tried else f"A batch of {batch:,} fits"
    return f"{words} {said} ({ways.smaller.name})."


def _why(name: str) -> str:
    """Why a lever can need more than training without it."""
    more = "more than training without it"
    if not name.startswith("--accumulate"):
        return more
    return f"{more}, because the gradients of earlier micro-batches stay live during later ones"
