"""Random cells of every family, seeded. Values that a family refuses are drawn again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from memtrain.cells.cell import COSTS, Cell, Mode
from memtrain.cells.columns import BY_NAME
from memtrain.cells.engine import NUMPY, TORCH
from memtrain.cells.row import Row, planned_row
from memtrain.errors import InputError
from memtrain.graph.ops import ACTIVATIONS
from memtrain.models.families import FAMILIES, columns_of
from memtrain.models.network import DTYPES
from memtrain.run.allocation import ALLOCATIONS
from memtrain.sweeps.grid import make_cell
from memtrain.sweeps.runner import Task
from memtrain.training.iteration import UPDATES
from memtrain.training.keeping import AFTER_UPDATE, GRADIENTS
from memtrain.training.optimizers import OPTIMIZERS

SIZES_FROM_DATA = ("input_size", "output_size", "channels", "vocabulary")
"""Columns that are drawn in a quarter of the cells. The data of the other cells give them."""

_PYTORCH = {"policy": "none", "update": "deferred", "allocation": "auto"}
"""The values of columns that cells of the engine torch have."""

COMMON: dict[str, Sequence[Any]] = {
    "activation": list(ACTIVATIONS),
    "bias": (False, True),
    "l2": (0.0, 1e-4),
    "dtype": DTYPES,
    "norm": BY_NAME["norm"].choices,
    "kernel": (1, 2, 3, 3, 5),
    "pool": (1, 2, 3),
    "heads": (1, 2, 3, 4, 8),
    "dropout": (0.0, 0.0, 0.1, 0.5),
    "attention": BY_NAME["attention"].choices,
    "tied": (False, True),
    "unit": BY_NAME["unit"].choices,
    "input_size": (1, 7, 64, 300),
    "output_size": (2, 10, 100),
    "channels": (1, 2, 3, 8),
    "vocabulary": (2, 40, 256, 1000),
}
LARGE: dict[str, dict[str, Sequence[Any]]] = {
    "mlp": {
        "depth": (0, 1, 1, 2, 3, 4, 6, 8, 12, 16, 24, 33, 50, 75, 100, 150),
        "width": (1, 3, 8, 10, 16, 32, 64, 64, 100, 128, 256, 512),
        "batch": (1, 3, 8, 16, 32, 64, 100, 200, 256, 512, 800, 1024),
    },
    "lenet": {"depth": (1, 2, 3), "image": (8, 20, 28, 32, 64), "batch": (1, 6, 32, 100, 256, 1024)},
    "cnn": {
        "depth": (1, 2, 3, 4, 6, 8),
        "width": (1, 4, 6, 16, 32, 64),
        "image": (8, 11, 16, 28, 32, 64),
        "batch": (1, 6, 16, 32, 64),
    },
    "resnet": {
        "depth": (1, 2, 3, 4, 6),
        "width": (1, 4, 6, 16, 32),
        "image": (8, 11, 16, 32),
        "batch": (1, 6, 16, 32, 64),
    },
    "transformer": {
        "depth": (1, 2, 3, 4, 6),
        "width": (1, 6, 8, 24, 64, 128, 256),
        "sequence": (1, 5, 32, 100, 128, 256),
        "batch": (1, 2, 6, 8, 16),
    },
    "rnn": {
        "depth": (1, 2, 3),
        "width": (1, 6, 32, 64, 128, 256),
        "sequence": (1, 5, 20, 64),
        "batch": (1, 6, 16, 32, 128),
    },
}
SMALL: dict[str, dict[str, Sequence[Any]]] = {
    "mlp": {"depth": (0, 1, 2, 5, 9), "width": (1, 3, 8, 10, 33), "batch": (1, 3, 4, 8, 30)},
    "lenet": {"depth": (1, 2, 3), "image": (8, 20), "batch": (1, 4, 6)},
    "cnn": {"depth": (1, 2, 3, 5), "width": (1, 4, 6), "image": (8, 11), "batch": (1, 4, 6)},
    "resnet": {"depth": (1, 2, 3, 4), "width": (1, 4, 6), "image": (8, 11), "batch": (1, 4, 6)},
    "transformer": {"depth": (1, 2, 3), "width": (1, 6, 8, 24), "sequence": (1, 5, 32), "batch": (1, 4, 6)},
    "rnn": {"depth": (1, 2), "width": (1, 6, 16), "sequence": (1, 3, 5), "batch": (1, 4, 6)},
}
"""By family: the sizes to draw from, for cells that must be quick to run."""


def draw_tasks(
    count: int,
    rng: Random,
    *,
    small: bool = False,
    models: Sequence[str] = tuple(FAMILIES),
    threads: Sequence[int] = (1, 1, 1, 2),
    engine: str = NUMPY,
    fits: Callable[[Row], bool] = lambda row: True,
) -> tuple[list[Task], Counter[str]]:
    """``count`` different random cells, each in one mode, and how many were drawn and refused, and why.

    The families take turns. With the engine torch, a cell has only what PyTorch does. ``fits`` says whether a
    cell with this predicted row is wanted.
    """
    tasks: dict[Task, None] = {}
    said: Counter[str] = Counter()
    while len(tasks) < count:
        said["drawn"] += 1
        mode = rng.choice((*[Mode.TRAIN] * 5, Mode.INFER, Mode.INFER, Mode.EVAL_GRAD))
        columns = draw_columns(rng, models[len(tasks) % len(models)], SMALL if small else LARGE)
        columns["threads"] = rng.choice(threads)
        if engine == TORCH:
            columns |= {"engine": engine, "inplace": rng.random() < 0.2, **_PYTORCH}
            form = rng.choice(("plain", "foreach", "fused"))
            columns |= {"foreach": form == "foreach", "fused": form == "fused"}
        try:
            cell = make_cell(columns)
        except InputError:
            said["refused"] += 1
            continue
        cell = cell if engine == TORCH else with_budget(rng, cell)
        row = planned_row(cell, mode)
        if not row.ok:
            said["without a plan"] += 1
        elif not fits(row):
            said["of another size"] += 1
        else:
            tasks[cell, mode] = None
    return list(tasks), said


def draw_columns(rng: Random, model: str, sizes: dict[str, dict[str, Sequence[Any]]]) -> dict[str, Any]:
    """Random values of the columns of a cell. No network need have all of them."""
    choices = {**COMMON, **sizes[model]}
    own_sizes = rng.random() < 0.25
    network = {
        name: rng.choice(choices[name])
        for name in columns_of(model)
        if name in choices and (own_sizes or name not in SIZES_FROM_DATA)
    }
    return {
        "model": model,
        **network,
        "batch": rng.choice(choices["batch"]) * rng.choice((1, 1, 2)),
        "accumulate": rng.choice((1, 1, 1, 2, 4, 8)),
        "optimizer": rng.choice(OPTIMIZERS),
        "policy": rng.choice(("none", "none", "sqrt", "revolve:1", "revolve:3")),
        "update": rng.choice(UPDATES),
        "allocation": rng.choice(ALLOCATIONS),
        "steps": rng.choice((1, 2, 3)),
        "gradients": rng.choice((AFTER_UPDATE, *GRADIENTS)),
        "retain_graph": rng.random() < 0.15,
        "seed": rng.randrange(100),
        "cost": COSTS[1],
    }


def with_budget(rng: Random, cell: Cell) -> Cell:
    """In some of the draws, the same cell with a budget that has a plan, if it had no policy."""
    if cell.policy != "none" or cell.retain_graph or rng.random() >= 0.3:
        return cell
    most = planned_row(cell, Mode.TRAIN)["predicted_peak_bytes"]
    budget = cell.changed(policy=f"budget:{int(most * rng.uniform(0.7, 1))}")
    return budget if planned_row(budget, Mode.TRAIN).ok else cell
