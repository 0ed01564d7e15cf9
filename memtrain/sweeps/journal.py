"""The journal of a sweep: one line of JSON for each finished row, synced to the disk as soon as it is added.

The journal is the record of the sweep, and the CSV in the same folder is made from it. The first line has the
request and the environment in which it was measured.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from memtrain.cells.row import Row
from memtrain.errors import InputError, StoreError, shown
from memtrain.files import (
    already_there,
    cannot_write,
    make_results_folder,
    open_regular,
    quoted,
    reason,
)
from memtrain.sweeps.request import Request
from memtrain.sweeps.stored import SCHEMA_VERSION, Stored, read_journal

SUFFIX = ".journal"
MUST_AGREE = (
    "memtrain",
    "python",
    "numpy",
    "memray",
    "blas",
    "cpu",
    "cores",
    "platform",
    "libc",
    "memory_bytes",
    "huge_pages",
    "settings",
)
"""The entries of the environment that must be the same for all figures of one file."""


def journal_path(rows: Path) -> Path:
    """The path of the journal of a CSV; a journal is returned itself. Raises ``InputError`` without a name.

    For a link this is the journal in the folder of its target, so that a file has one journal only.
    """
    if not rows.name.removesuffix(SUFFIX):
        raise InputError(f"{shown(rows)} is not the name of a file", "name the CSV of a sweep")
    if rows.is_symlink():
        rows = rows.resolve()
    return rows if rows.name.endswith(SUFFIX) else rows.with_name(rows.name + SUFFIX)


class Journal:
    """An open journal. A lock keeps a second sweep from using it."""

    def __init__(self, path: Path, file: FileIO, end: int) -> None:
        self.path = path
        self._file, self._end = file, end

    @classmethod
    def create(cls, path: Path, request: Request, about: Mapping[str, Any], force: bool) -> Journal:
        """A new journal. Raises ``InputError`` if one exists (unless ``force``), or is in use.

        ``about`` has the environment, the command and its options.
        """
        journal = cls(path, _locked(path, os.O_CREAT | (0 if force else os.O_EXCL)), 0)
        header = {"memtrain_journal": SCHEMA_VERSION, "request": request.as_json(), **about}
        try:
            journal._append(header)
        except OSError as error:
            with suppress(OSError):
                path.unlink()  # without its first line it cannot be resumed
            journal.close()
            raise cannot_write(path, error, "no row was measured") from error
        return journal

    @classmethod
    def reopen(cls, path: Path) -> tuple[Journal, Stored]:
        """The journal of an earlier sweep, and its content. Raises ``InputError`` and ``StoreError``."""
        if not path.is_file():
            raise InputError(
                f"--resume: {path} is not a regular file"
                if path.exists()
                else f"--resume: there is no {path}",
                "name the CSV of a sweep, with its journal in the same folder",
            )
        file = _locked(path, 0)
        try:
            stored = read_journal(path)
        except OSError as error:
            file.close()
            raise StoreError(f"cannot read {path}: {reason(error)}; begin a new file") from error
        except BaseException:
            file.close()
            raise
        return cls(path, file, stored.whole_bytes), stored

    def add(self, row: Row) -> None:
        """Append a row and sync it to the disk. After a ``StoreError`` the earlier lines are intact."""
        line = {
            "cell": row.cell.values(),
            "mode": row.mode,
            "figures": row.figures,
            "peak_node": row.peak_node,
            "retained": row.retained,
            "environment": row.environment,
            "notes": row.notes,
        }
        try:
            self._append(line)
        except OSError as error:
            raise StoreError(
                f"cannot write {self.path}: {error.strerror}; the earlier rows are stored: solve this, then "
                f"continue with memtrain sweep --resume {quoted(str(self.path))}"
            ) from error

    def close(self) -> None:
        """Close the file, which releases the lock."""
        with suppress(OSError):
            self._file.close()

    def _append(self, values: Mapping[str, Any]) -> None:
        """Write a line and sync it to the disk. Raises ``OSError``, and then restores the file.

        Raises ``StoreError`` if the file was moved or removed.
        """
        line = (json.dumps(values, separators=(",", ":")) + "\n").encode()
        try:
            self._check_there()
            self._file.seek(self._end)
            self._file.truncate()
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
            self._end = self._file.tell()
        except OSError:
            with suppress(OSError):
                self._file.truncate(self._end)
            raise

    def _check_there(self) -> None:
        """Raise ``StoreError`` if the file was moved or removed: new lines would be lost."""
        ours = os.fstat(self._file.fileno())
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            raise StoreError(
                f"{self.path} was moved or removed while the sweep was writing it; the rows so far are in "
                "the CSV, if it still exists: start again with another file"
            )


def check_same(stored: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise ``InputError`` unless figures of the environments ``stored`` and ``here`` are comparable."""
    before, now = ({**_flat(values)} for values in (stored, here))
    different = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    if different:
        changes = ", ".join(f"{name} was {before.get(name)} and is {now.get(name)}" for name in different)
        raise InputError(
            f"--resume: figures from here cannot stand beside those of the file ({changes})",
            "begin a new file",
        )


def _flat(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of an environment that must agree. Each setting is one entry."""
    settings = environment.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    return {name: environment.get(name) for name in MUST_AGREE if name != "settings"} | settings


def is_in_use(path: Path) -> bool:
    """Whether a sweep has this journal open."""
    try:
        with open_regular(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _locked(path: Path, flags: int) -> FileIO:
    """The file, open for reading and writing, and locked by this process. Raises ``InputError``."""
    try:
        make_results_folder(path)
        file = FileIO(os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o666), "r+")
    except FileExistsError:
        raise already_there(path) from None
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise InputError(
            f"another sweep is writing {path} now", "wait until it has ended, or name another file"
        ) from error
    return file
