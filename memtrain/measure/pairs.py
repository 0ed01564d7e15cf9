"""The comparison of two cells in one process: of their times, or of their gradients."""

from __future__ import annotations

from statistics import median
from time import perf_counter

import numpy as np

from memtrain.cells.cell import Cell, Mode
from memtrain.graph.node import Graph, Node, Phase, Role
from memtrain.graph.ops.base import Array
from memtrain.measure.meters import Figures
from memtrain.measure.workload import Bench, Workload
from memtrain.run.executor import Run

PACED_S, FEWEST_ROUNDS = 0.5, 3
"""The two cells take turns for at least this many seconds and this many rounds."""


def pace_meter(bench: Bench, cell: Cell, mode: Mode, other: Cell) -> Figures:
    """The median seconds of an iteration of ``cell`` and of ``other``, and the median of their ratio.

    The cells take turns, so that other load on the machine affects both.
    """
    pair = [bench.workload(each, mode, timing=True) for each in (cell, other)]
    runs = [workload.new_run() for workload in pair]
    for workload, run in zip(pair, runs, strict=True):
        workload.load(run)
        workload.iterate(run, 0)
    rounds: list[list[float]] = []
    while len(rounds) < FEWEST_ROUNDS or sum(map(sum, rounds)) < PACED_S:
        rounds.append([])
        for workload, run in zip(pair, runs, strict=True):
            before = perf_counter()
            workload.iterate(run, len(rounds))
            rounds[-1].append(perf_counter() - before)
    return {
        "step_s": median(ours for ours, _ in rounds),
        "other_step_s": median(theirs for _, theirs in rounds),
        "time_ratio": median(ours / theirs for ours, theirs in rounds),
    }


def likeness_meter(bench: Bench, cell: Cell, mode: Mode, other: Cell) -> Figures:
    """The differences of gradients, updated parameters and optimiser state between ``cell`` and ``other``.

    ``differing`` names the values that differ in any bit. ``largest_difference`` is the largest difference of
    any value, relative to the largest entry of this value in ``other``.
    """
    found, right = (trained_values(bench.workload(each, mode)) for each in (cell, other))
    differing = [name for name in right if found[name].tobytes() != right[name].tobytes()]
    off = [
        float(np.max(np.abs(found[name] - right[name])) / (np.max(np.abs(right[name])) or 1))
        for name in differing
    ]
    return {
        "differing": differing,
        "compared_count": len(right),
        "largest_difference": max(off, default=0.0),
    }


def trained_values(workload: Workload) -> dict[str, Array]:
    """The gradients of the cell's last iteration; parameters and optimiser state after it. By name."""
    run = Run(workload.schedule)
    workload.load(run)
    for number in range(workload.steps - 1):
        workload.iterate(run, number)
    workload.feed(run, workload.steps - 1)
    graph = run.schedule.graph
    parameters = _parameters_by_gradient(graph)
    values: dict[str, Array] = {}
    for number, step in enumerate(run.schedule.steps):
        if step.phase is Phase.UPDATE:
            for read in graph[step.node].inputs:
                if read in parameters:
                    values[f"∂{parameters[read].name}"] = run.array(read).copy()
        run.execute(number, number + 1)
    state = [*run.schedule.leaves(Role.PARAMETER), *run.schedule.leaves(Role.OPTIMIZER)]
    return values | {leaf.name: run.array(leaf.id).copy() for leaf in state}


def _parameters_by_gradient(graph: Graph) -> dict[int, Node]:
    """By id of a gradient: the parameter that it updates, directly or through the optimiser state."""
    found: dict[int, Node] = {}
    for update in graph:
        parameter = graph[update.storage]
        if update.op.writes is None or parameter.role is not Role.PARAMETER:
            continue
        reads = list(update.inputs)
        for state in update.inputs:
            if graph[state].phase is Phase.UPDATE:
                reads += graph[state].inputs
        found |= {read: parameter for read in reads if graph[read].phase is Phase.BACKWARD}
    return found


PAIR_METERS = {"pace": pace_meter, "likeness": likeness_meter}
