"""Rows of a small sweep in which no part of a row is empty, and their file with its journal."""

from __future__ import annotations

from fake_host import FakeHost

from memtrain.cells.row import predicted_row
from memtrain.sweeps.journal import MUST_AGREE, journal_path
from memtrain.sweeps.request import Request, make_tasks
from memtrain.sweeps.store import RowStore

REQUEST = Request({"depth": [1, 2, 3], "batch": [4], "width": [8, 16]}, mode="train", meters=("ledger",))
TASKS = make_tasks(REQUEST.cells(), REQUEST.mode)
ENVIRONMENT = {**dict.fromkeys(MUST_AGREE, "here"), "settings": {"MALLOC_X": "here"}}
HOST = FakeHost(lambda meter, *asked: {"environment": ENVIRONMENT}[meter])
ABOUT = {"environment": ENVIRONMENT}


def rows():
    """A row for each task, in which no part is empty."""
    made = [predicted_row(cell, mode) for cell, mode in TASKS]
    for row in made:
        row["ledger_peak_bytes"] = row["predicted_peak_bytes"]
        row["loss_last"] = float("nan")
        row["step_s"] = 0.1
        row.environment = {"blas": "b", "settings": {"X": "ä"}}
        row.notes = ["a note"]
    made[2]["status"], made[2]["reason"] = "killed", 'by "someone",\nsomehow'
    return made


def stored(path, some=None):
    with RowStore.create(path, TASKS, REQUEST, ABOUT) as store:
        for row in rows() if some is None else some:
            store.add(row)
    return journal_path(path)
