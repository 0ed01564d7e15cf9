"""A workload: a cell with its initial values and batches, ready to run. Meters watch workloads."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.engine import JAX, TORCH
from memtrain.engines.start import jax_run, torch_run
from memtrain.graph.ops.base import Array
from memtrain.measure.environment import environment
from memtrain.models.network import FeedKind
from memtrain.planning.cost import Rates
from memtrain.planning.schedule import Schedule
from memtrain.run.allocation import AnyRun, make_run
from memtrain.run.ledger import Ledger
from memtrain.training.data import Dataset, Part, draw_rows
from memtrain.training.iteration import counted
from memtrain.training.optimizers import LEARNING_RATES
from memtrain.training.sources import SYNTHETIC, load, split, synthetic

if TYPE_CHECKING:
    from memtrain.engines.jax_run import JaxRun
    from memtrain.engines.torch_run import TorchRun

    Run = AnyRun | TorchRun | JaxRun


class Bench:
    """The data that the workloads of a process share. A server makes a bench, and its children inherit it."""

    def __init__(self, rates: Rates | None = None) -> None:
        self.rates = rates
        """The rates for plans that minimise time; ``None`` in a process that makes no such plan."""
        self.environment = environment()
        self._examples: dict[tuple[str, FeedKind, int | None], Part] = {}

    def examples(self, cell: Cell) -> Part:
        """The training examples of a cell. They are loaded once for all cells with equal examples."""
        key = (cell.data, cell.network.reads, cell["sequence"])
        if key not in self._examples:
            self._examples[key] = training_part(cell)
        return self._examples[key]

    def workload(self, cell: Cell, mode: Mode, *, timing: bool = False) -> Workload:
        """The workload of a cell."""
        examples = None if cell.data == SYNTHETIC else self.examples(cell)
        return Workload(cell, mode, timing=timing, rates=self.rates, examples=examples)


class Workload:
    """Everything that a run of the cell needs. It is made before a meter starts, so it is in the baseline."""

    def __init__(
        self,
        cell: Cell,
        mode: Mode,
        *,
        timing: bool = False,
        rates: Rates | None = None,
        examples: Part | None = None,
    ) -> None:
        """``rates`` are for its plan. ``examples`` are those of its data, which are loaded by default."""
        self._cell = cell
        self._schedule = None if cell.engine == JAX else cell.schedule(mode, rates)
        self._allocation, self._threads = cell.allocation_for(timing=timing), cell.threads
        self.mode = mode
        self.steps = cell.steps
        self._reserve: list[bytes] = []
        self._start = cell.network.initial_values(cell.seed)
        self._batches = list(islice(batches(cell, examples), cell.steps))

    @property
    def is_predicted(self) -> bool:
        """Whether there is a schedule. JAX has none, since its compiler decides what is kept."""
        return self._schedule is not None

    @property
    def schedule(self) -> Schedule:
        """The schedule of an iteration. Only a workload that `is_predicted` has one."""
        assert self._schedule is not None
        return self._schedule

    @property
    def step_count(self) -> int:
        """The number of steps of an iteration; 0 if it is not known."""
        return len(self._schedule.steps) if self._schedule else 0

    def new_run(self, ledger: Ledger | None = None) -> Run:
        """A run of the cell, before its leaves are loaded."""
        if not self.is_predicted:
            cell = self._cell
            rate = LEARNING_RATES[cell.optimizer] if self.mode is Mode.TRAIN else None
            return jax_run(cell.network, cell.batch, cell.optimizer, rate, cell.threads)
        if self._cell.engine == TORCH:
            cell = self._cell
            return torch_run(
                cell.network,
                cell.batch,
                cell.loop,
                LEARNING_RATES[cell.optimizer] if self.mode is Mode.TRAIN else None,
                self.schedule,
                with_history=self.mode is Mode.EVAL_GRAD,
                ledger=ledger,
            )
        return make_run(self.schedule, self._allocation, ledger, self._threads)

    def load(self, run: Run) -> None:
        """Allocate the run's parameters, optimiser state and input buffers, and set their initial values."""
        run.load(self._start)

    def feed(self, run: Run, number: int) -> None:
        """Copy batch ``number`` into the run's input buffers."""
        run.feed(self._batches[number % len(self._batches)])

    def iterate(self, run: Run, number: int) -> float | None:
        """Run one iteration on batch ``number``; returns the objective, or ``None`` for inference."""
        self.feed(run, number)
        asked = run.iterate()
        return float(asked[0]) if self.mode is Mode.TRAIN else None

    def run_all(self, run: Run, iterations: int | None = None) -> list[float | None]:
        """Load the leaves and run every iteration of the cell, or ``iterations``; returns the objectives."""
        self.load(run)
        return self.iterate_all(run, iterations)

    def iterate_all(self, run: Run, iterations: int | None = None) -> list[float | None]:
        """Run every iteration of the cell, or ``iterations`` of them; returns the objectives."""
        return [self.iterate(run, number) for number in range(iterations or self.steps)]

    def warm_up(self) -> None:
        """Run one iteration, free its arrays, and give the memory back to the kernel."""
        run = self.new_run()
        self.load(run)
        self.iterate(run, 0)
        del run
        gc.collect()
        self.reserve()
        give_back()

    def reserve(self) -> None:
        """Reserve memory for the small objects that Python makes during a run."""
        self._reserve = _reserve_pools(self.step_count)


def batches(cell: Cell, examples: Part | None = None) -> Iterator[dict[str, Array]]:
    """The endless batches of a cell, by leaf name: examples, labels and the number of the iteration.

    They are drawn from ``examples``, the training examples of its data. By default these are loaded.
    """
    feeds = cell.network.feeds(cell.batch)
    data: Dataset | Part
    if cell.data == SYNTHETIC:
        data = synthetic(feeds, cell.seed)
    else:
        data = training_part(cell) if examples is None else examples
    for number, rows in enumerate(draw_rows(len(data), cell.batch, cell.seed), start=1):
        yield {**data.take(rows).fed(feeds), **counted(feeds, number, cell.seed, cell.accumulate)}


def training_part(cell: Cell) -> Part:
    """The training examples of the data of ``cell``."""
    return split(load(cell.data), cell.network)[0]


def _reserve_pools(step_count: int) -> list[bytes]:
    """Make Python hold free pools for small objects (a few MiB, and 2 KB per step) while the result lives.

    When no pool is free, Python allocates 1 MiB of pools. During a run, this would show in a heap peak like
    an array of 1 MiB.
    """
    small = [bytes(400) for _ in range(8000 + 5 * step_count)]
    return small[::500]  # some objects stay in every MiB, so that Python keeps it


def give_back() -> None:
    """Give freed memory back to the kernel, if the C library can do it (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
