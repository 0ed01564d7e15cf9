"""The session of a sweep: the sweep is begun or resumed, and its rows are stored as they finish."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memtrain.cells.row import Row
from memtrain.errors import InputError, MemtrainError, StoreError
from memtrain.files import check_outputs, is_special, open_regular, quoted, reason
from memtrain.measure.host import Host
from memtrain.run.blas import CORETYPE
from memtrain.sweeps.journal import SUFFIX, Journal, check_same, is_in_use, journal_path
from memtrain.sweeps.request import Request, make_tasks
from memtrain.sweeps.runner import Task
from memtrain.sweeps.store import RowStore
from memtrain.sweeps.stored import Stored
from memtrain.training.sources import DIGITS, NAMES


class Session:
    """A sweep: its request, its store, and the rows that are finished."""

    def __init__(
        self,
        request: Request,
        tasks: Sequence[Task],
        store: RowStore,
        done: dict[Task, Row],
    ) -> None:
        self.request = request
        self.tasks = tasks
        self.store = store
        self.done = done

    @property
    def waiting(self) -> list[Task]:
        """The tasks that are still to be measured."""
        return [task for task in self.tasks if task not in self.done]

    @property
    def rows(self) -> list[Row]:
        """The finished rows, in the order of the grid."""
        return [self.done[task] for task in self.tasks if task in self.done]

    def add(self, row: Row) -> None:
        """Store a finished row. Raises ``StoreError``."""
        self.store.add(row)
        self.done[row.cell, row.mode] = row


def begin(host: Host, request: Request, path: Path, about: Mapping[str, Any], force: bool) -> Session:
    """A new sweep that writes to ``path``. Its journal records ``about``: environment, command, options.

    If a plan minimises time, the rates of the host are recorded, too. Raises ``InputError`` if files exist
    (unless ``force``), and ``StoreError`` if files cannot be written.
    """
    tasks = make_tasks(request.cells(), request.mode)
    recorded = asdict(host.rates) if any(cell.plans_by_time for cell, _ in tasks) else None
    known = {**about, "folder": os.getcwd(), "data": _fingerprints(request), "rates": recorded}
    return Session(request, tasks, RowStore.create(path, tasks, request, known, force), {})


def resume(host: Host, path: Path) -> Session:
    """The sweep whose CSV (or journal) is ``path``, with its finished rows.

    From now on the host plans with the recorded rates. Raises ``InputError`` if the sweep cannot be continued
    here: on another machine, with another version or other data, or without a journal.
    """
    journal, stored = Journal.reopen(journal_path(path))
    try:
        _check_data(stored)
        tasks = _tasks(stored)
        if stored.rates is not None:
            host.plan_with(stored.rates)
        host.compute_with(stored.environment.get("settings", {}).get(CORETYPE))
        check_same(stored.environment, host.environment(tasks[0][0]))
        done = {(row.cell, row.mode): row for row in stored.rows.values()}
        if not done.keys() <= set(tasks):
            raise StoreError(
                f"{journal.path} has rows of cells that its sweep does not ask for; begin a new file"
            )
        rows = journal.path.with_name(journal.path.name.removesuffix(SUFFIX))
        store = RowStore.resume(rows, tasks, journal, stored)
    except BaseException:
        journal.close()
        raise
    settled = {task: row for task, row in done.items() if row.settled}
    return Session(stored.request, tasks, store, settled)


def check_new(
    request: Request, path: Path, others: Mapping[str, Path | None], force: bool, config: Path | None = None
) -> None:
    """Raise ``InputError`` if a new sweep could not write its CSV, its journal, or ``others``."""
    if path.name.endswith(SUFFIX):
        raise InputError(
            f"--export-csv {path} has the ending of a journal ({SUFFIX})", "give a name that ends with .csv"
        )
    check_outputs({"--export-csv": path}, force=True)
    outputs, inputs = {"--export-csv": path, **others}, [*_data_files(request), config]
    if is_special(path):  # it has no journal
        check_outputs(outputs, force, inputs)
        return
    journal = journal_path(path)
    outputs["the journal of --export-csv"] = journal
    check_outputs(outputs, True, inputs)
    if is_special(journal):
        raise InputError(
            f"{journal}, the journal of --export-csv, is not a regular file", "name another file"
        )
    if is_in_use(journal):
        raise InputError(f"another sweep is writing {path} now", "name another file")
    if journal.is_file() and not force:
        raise InputError(
            f"{path} holds an earlier sweep",
            f"continue it with --resume {quoted(str(path))}, name another file, or replace it with --force",
        )
    check_outputs(outputs, force)


def _tasks(stored: Stored) -> list[Task]:
    try:
        return make_tasks(stored.request.cells(), stored.request.mode)
    except MemtrainError:
        raise
    except Exception as error:  # a hostile journal can cause any error
        raise StoreError(
            "the journal does not record what the sweep was to measure; begin a new file"
        ) from error


def _data_files(request: Request) -> list[str]:
    names = request.axes.get("data", [DIGITS])
    return [name for name in names if isinstance(name, str) and name not in NAMES]


def _fingerprints(request: Request) -> dict[str, str]:
    """The digest of the content of each data file, by its path."""
    found = {}
    for name in _data_files(request):
        with open_regular(Path(name)) as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _check_data(stored: Stored) -> None:
    """Raise ``InputError`` unless the data files exist and are unchanged."""
    relative = [name for name in _data_files(stored.request) if not os.path.isabs(name)]
    if relative and stored.folder != os.getcwd():
        raise InputError(
            f"--resume: the sweep was begun in {stored.folder}, and reads {relative[0]} there",
            f"first run cd {quoted(stored.folder)}",
        )
    try:
        now = _fingerprints(stored.request)
    except OSError as error:
        raise InputError(
            f"--resume: the data file {error.filename or ''} of the sweep cannot be read ({reason(error)})",
            "put it back",
        ) from error
    changed = [name for name, digest in now.items() if stored.data.get(name) != digest]
    if changed:
        raise InputError(
            f"--resume: {changed[0]} has changed since the sweep was begun",
            "put the old file back, or begin a new sweep",
        )
