"""What was measured of this machine, kept in the user's cache between commands."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar

from memtrain import __version__
from memtrain.run.cpu import cpu_name, usable_cores

T = TypeVar("T")


class Kept(Generic[T]):
    """A value of this machine in a file of the user's cache, which holds the value of one machine."""

    def __init__(self, file: str, read: Callable[[Any], T], written: Callable[[T], Any]) -> None:
        """``read`` makes the value from JSON or raises an error; ``written`` makes JSON from the value."""
        self._file, self._read, self._written = file, read, written

    def value(self) -> T | None:
        """The kept value; ``None`` if there is none."""
        return next((value for value in map(self._kept, _folders()) if value is not None), None)

    def value_or(self, measure: Callable[[], T]) -> T:
        """The kept value; without one, the value that ``measure`` returns, which is then kept.

        Several processes that share a cache measure once and use the same value. Any error of ``measure`` is
        raised.
        """
        measured: T | None = None
        for folder in _folders():
            with suppress(OSError), _locked(folder, f"{self._file}.lock"):
                kept = self._kept(folder)
                if kept is not None:
                    return kept
                measured = measure() if measured is None else measured
                new = folder / f"{self._file}.{os.getpid()}"
                new.write_text(json.dumps({machine_name(): self._written(measured)}), encoding="utf-8")
                new.replace(folder / self._file)
                return measured
        return measure() if measured is None else measured

    def _kept(self, folder: Path) -> T | None:
        """The value of this machine in ``folder``; ``None`` if there is none that can be used."""
        with suppress(OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            _check_ours(folder)
            return self._read(json.loads((folder / self._file).read_text(encoding="utf-8"))[machine_name()])
        return None


def machine_name() -> str:
    """One text with everything on which such values depend. It does not import numpy."""
    try:
        numpy = version("numpy")
    except PackageNotFoundError:
        numpy = ""
    return f"{cpu_name()}; {usable_cores()}; {numpy}; {__version__}"


def _folders() -> Iterator[Path]:
    """The folders for such values: the user's cache, else a temporary folder of the user."""
    with suppress(RuntimeError):  # the user may have no home folder
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "memtrain")
    yield Path(tempfile.gettempdir(), f"memtrain.{os.geteuid()}")


def _check_ours(folder: Path) -> None:
    """Raise ``OSError`` unless ``folder`` is a real folder, not a link, that only this user can write."""
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o022:
        raise PermissionError(f"{folder} is not a folder that only this user can write")


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    """A context in which only this process holds a lock. Raises ``OSError`` unless the folder is this user's.

    Each kept value has its own lock, since the measurement of one value may need another.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_ours(folder)
    lock = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
