"""The rates of this machine, kept in the user's cache between commands.

A prediction reads them from the cache and measures nothing. `memtrain.measure.host.Host` measures the rates
and writes them to the cache.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from memtrain import __version__
from memtrain.planning.cost import Rates
from memtrain.run.blas import cpu_name, usable_cores

_FILE = "rates.json"

UNKNOWN = (
    "the speed of this machine is not known yet, so the plan minimises FLOPs instead of time; "
    "`memtrain plan`, `train` or `sweep` measures it"
)
"""The note for a plan that should minimise time if no rates are kept and none may be measured."""


def kept_rates() -> Rates | None:
    """The rates that are kept for this machine; ``None`` if there are none."""
    return next(filter(None, map(_kept, _folders())), None)


def kept_or(measure: Callable[[], Rates]) -> Rates:
    """The kept rates; without any, the rates that ``measure`` returns, which are then kept.

    Several processes that share a cache measure once and use the same rates. Any error of ``measure`` is
    raised.
    """
    measured: Rates | None = None
    for folder in _folders():
        with suppress(OSError), _locked(folder):
            kept = _kept(folder)
            if kept is not None:
                return kept
            measured = measured or measure()
            new = folder / f"rates.{os.getpid()}"
            new.write_text(json.dumps({machine_name(): asdict(measured)}), encoding="utf-8")
            new.replace(folder / _FILE)
            return measured
    return measured or measure()


def unkept_rates() -> str | None:
    """Why plans that minimise time can differ between runs on this machine; ``None`` if rates are kept."""
    if kept_rates() is not None:
        return None
    return (
        "the measured speed of this machine cannot be stored, so plans that minimise time can differ from "
        "run to run; set XDG_CACHE_HOME to a writable folder, or use --cost flops"
    )


def _kept(folder: Path) -> Rates | None:
    """The rates of this machine in ``folder``; ``None`` if there are none that can be used."""
    with suppress(OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        _check_ours(folder)
        return Rates.of(json.loads((folder / _FILE).read_text(encoding="utf-8"))[machine_name()])
    return None


def machine_name() -> str:
    """One text with everything on which rates depend."""
    return f"{cpu_name()}; {usable_cores()}; {np.__version__}; {__version__}"


def _folders() -> Iterator[Path]:
    """The folders in which rates can be kept: the user's cache, else a temporary folder of the user."""
    with suppress(RuntimeError):  # the user may have no home folder
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "memtrain")
    yield Path(tempfile.gettempdir(), f"memtrain.{os.geteuid()}")


def _check_ours(folder: Path) -> None:
    """Raise ``OSError`` unless ``folder`` is a real folder, not a link, that only this user can write."""
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o022:
        raise PermissionError(f"{folder} is not a folder that only this user can write")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """A context in which only this process uses ``folder``. Raises ``OSError`` if it is not this user's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_ours(folder)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
