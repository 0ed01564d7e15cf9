"""Temporary folders of measuring processes, and the removal of those whose owner was killed.

As long as the owner of a folder runs, it holds a lock on a file in the folder. When a process ends, in
whatever way, the kernel releases its locks. So a folder whose lock is free is abandoned. An empty folder is
abandoned, too: its owner was killed before it made this file. Folders with other files only, and folders of
other users, are never touched.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "memtrain-measuring-"
OWNER = ".owner"
"""The file in each folder that its owner locks."""


class TemporaryFolder:
    """A new folder for the children of this process. It is removed by `cleanup` or when Python ends."""

    def __init__(self) -> None:
        """Make the folder, and remove abandoned folders of other processes. Raises ``OSError``."""
        sweep_abandoned()
        while True:
            self._folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
            lock = _take(self._folder.name)
            if lock is not None:
                break
            self._folder.cleanup()
        self._lock = lock

    @property
    def name(self) -> str:
        """The path of the folder."""
        return self._folder.name

    def cleanup(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()
        with suppress(OSError):
            os.close(self._lock)


def sweep_abandoned() -> None:
    """Remove the folders of this user whose owners ended without removing them."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX):
                with suppress(OSError):  # it was removed meanwhile, or its file system has no locks
                    _remove_if_abandoned(Path(entry.path))


def _take(folder: str) -> int | None:
    """The lock of a new folder; ``None`` if another process has just removed it. Raises ``OSError``."""
    try:
        lock = os.open(Path(folder, OWNER), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    with suppress(OSError):  # on a file system without locks, no process can find this lock free
        fcntl.flock(lock, fcntl.LOCK_EX)
    if os.fstat(lock).st_nlink:
        return lock
    os.close(lock)
    return None


def _remove_if_abandoned(folder: Path) -> None:
    """Remove a folder of this user if it is empty or its lock is free. Raises ``OSError`` if it is in use."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    with suppress(OSError):
        os.rmdir(folder)  # it was empty; an owner that still runs makes another
        return
    lock = os.open(folder / OWNER, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
