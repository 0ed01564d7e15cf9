"""The questions of memtrain as functions in Python. The command line asks the same questions.

Each function takes the columns of a cell by name (``depth=8, activation="gelu"``). A column that is not given
has the default of the command. A range of values is a list, or a text as on the command line (``"1:64:x2"``).
A memory is a number of bytes, or a text (``"64MiB"``). Each answer is a `Shown`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from memtrain.answers.axes import axes_of
from memtrain.answers.capacity import Capacity, capacity_of
from memtrain.answers.confirm import confirm as confirm_capacity
from memtrain.answers.option import Ways
from memtrain.answers.training import Training, learning_rate, train_cell, training_rates
from memtrain.answers.trial import measure_ways
from memtrain.answers.ways import find_ways
from memtrain.cells.cell import SECONDS, Cell
from memtrain.cells.columns import BY_NAME
from memtrain.cells.not_here import NOT_HERE
from memtrain.cells.usual import FRONTIER_AXES, usual_epochs, with_explained, with_trained
from memtrain.errors import InputError, SpecError, check_integer
from memtrain.explaining import evidence
from memtrain.explaining.evidence import Explained
from memtrain.files import check_outputs, write_new
from memtrain.measure.host import Host
from memtrain.measure.machine import free_memory_bytes
from memtrain.report.notebook import Shown
from memtrain.run.kept_rates import kept_rates
from memtrain.sweeps.grid import make_cell
from memtrain.sweeps.sweep import check_limits, default_jobs
from memtrain.training.sources import load, split
from memtrain.units import parse_bytes

Range = str | int | Sequence[int]


def explain(
    *,
    prove: bool = False,
    second: bool = False,
    measure: bool = True,
    layers: Sequence[int] | None = None,
    **columns: Any,
) -> Shown[Explained]:
    """Why each intermediate of a cell is kept, as ``memtrain explain`` shows it.

    ``prove`` fills each kept array with NaN and compares the gradients; ``second`` also explains and checks
    the Hessian-vector product; ``measure`` runs the cell and measures its peaks. Raises ``InputError``.
    """
    _check_columns("explain", columns)
    cell = _cell(with_explained({**columns, "layers": layers}))
    rates = Host().rates_for(cell) if measure else kept_rates()
    if rates is None and cell.plans_by_time:
        cell = cell.changed(cost="flops")  # a prediction does not measure the machine
    found = evidence.explained(cell, rates, proof=prove, second=second, measure=measure, full=True)
    return Shown(found, _call("explain", columns, layers=layers))


def plan(
    memory: str | int | None = None,
    *,
    points: int = 0,
    measure: bool = True,
    timeout_s: float | None = None,
    layers: Sequence[int] | None = None,
    **columns: Any,
) -> Shown[Ways]:
    """The cheapest way to train a cell within ``memory``, as ``memtrain plan`` finds it.

    ``points`` (2 or more) adds at most this number of plans, from the smallest to the one that recomputes
    nothing. Each option is run unless ``measure`` is False. Raises ``InputError``.
    """
    if memory is None and points < 2:
        raise InputError("plan() needs a memory or points", 'call plan("64MiB") or plan(points=8)')
    check_limits(None, timeout_s)
    _check_columns("plan", columns)
    cell = _cell({**columns, "layers": layers})
    host = Host()
    rates = None if cell.cost != SECONDS else host.rates if measure else kept_rates()
    ways = find_ways(cell, None if memory is None else _bytes(memory), points, rates)
    if measure:
        with host:
            ways = measure_ways(host, ways, timeout_s=timeout_s)
    return Shown(ways, _call("plan", columns, memory=memory, points=points or None, layers=layers))


def frontier(
    memory: str | int,
    *,
    depth: Range | None = None,
    batch: Range | None = None,
    sequence: Range | None = None,
    confirm: bool = True,
    jobs: int | None = None,
    timeout_s: float | None = None,
    **columns: Any,
) -> Shown[Capacity]:
    """The largest batches and depths that fit into ``memory``, as ``memtrain frontier`` finds them.

    Other axes are ``sequence``, ``width``, ``image`` and ``vocabulary``, if they are ranges. Each boundary
    is run under a hard limit unless ``confirm`` is False. Raises ``InputError``.
    """
    check_limits(jobs, timeout_s)
    _check_columns("frontier", columns)
    given = {"depth": depth, "batch": batch, "sequence": sequence, **columns}
    others = {name: value for name, value in given.items() if name not in FRONTIER_AXES}
    found = capacity_of(axes_of(given), lambda **chosen: _cell({**others, **chosen}), _bytes(memory))
    if confirm:
        with Host() as host:
            found = confirm_capacity(host, found, jobs=jobs or default_jobs(), timeout_s=timeout_s)
    return Shown(found, _call("frontier", given, memory=memory))


def train(
    *,
    epochs: int | None = None,
    lr: float | None = None,
    save: str | Path | None = None,
    force: bool = False,
    **columns: Any,
) -> Shown[Training]:
    """A training of a network with its test and its peak memory, as ``memtrain train`` reports it.

    The BLAS threads are those of this process, so ``threads`` is refused. ``save`` is the path of a .npz file
    for the trained network; nothing is saved if the training diverges. ``force`` overwrites an existing file.
    Raises ``InputError``.
    """
    _check_columns("train", columns)
    if "threads" in columns:
        raise InputError(
            "train() runs in this process, whose BLAS threads are set already",
            "set OPENBLAS_NUM_THREADS before numpy is imported",
        )
    epochs = usual_epochs(columns) if epochs is None else epochs
    check_integer("epochs", epochs, 1)
    path = None if save is None else Path(save)
    check_outputs({} if path is None else {"save": path}, force)
    cell = _cell(with_trained(columns))
    examples = load(cell.data, free_memory_bytes())
    rate, rates = learning_rate(cell, lr), training_rates(cell)
    training = train_cell(cell, *split(examples, cell.network), rate=rate, rates=rates, epochs=epochs)
    if path is not None and not training.trained.diverged:
        write_new(path, training.snapshot(examples), force)
    return Shown(training, _call("train", columns, epochs=epochs, lr=lr))


def _cell(columns: Mapping[str, Any]) -> Cell:
    """The cell of ``columns``, one value each."""
    return make_cell({k: v for k, v in columns.items() if k != "layers"}, columns.get("layers"))


def _check_columns(command: str, columns: Mapping[str, Any]) -> None:
    """Raise ``SpecError`` for a column that the command does not have, with the reason."""
    for name in columns:
        option = BY_NAME[name].option if name in BY_NAME else f"--{name.replace('_', '-')}"
        if option in NOT_HERE[command]:
            raise SpecError(f"memtrain.{command} does not take {name}", NOT_HERE[command][option])


def _bytes(memory: str | int) -> int:
    return parse_bytes(str(memory), "memory")


def _call(name: str, columns: Mapping[str, Any], **others: Any) -> str:
    """The call in Python, for the documents, which record it."""
    given = {key: value for key, value in {**others, **columns}.items() if value is not None}
    return f"memtrain.{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})"
