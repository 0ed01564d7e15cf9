"""The free memory of the machine, within its control groups, and the memory of this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition

import psutil

from memtrain.errors import MeterUnavailable
from memtrain.files import reason

_CGROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def free_memory_bytes(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """The bytes that a process can still allocate: the least that the host or a control group has left.

    File pages of a group that were not used lately count as free, because the kernel can drop them.
    """
    free = psutil.virtual_memory().available
    for folder, limit_name, used_name, idle_name in _memory_groups(cgroups, own):
        limit, used = _number(folder / limit_name), _number(folder / used_name)
        if limit is not None and used is not None:
            free = min(free, max(0, limit - used + _entry(folder / "memory.stat", idle_name)))
    return free


def _memory_groups(cgroups: Path, own: Path) -> Iterator[tuple[Path, str, str, str]]:
    """The folders of this process's control groups up to the root, for versions 2 and 1.

    Each comes with the names of its files for the limit and the use, and of the entry for idle pages.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    paths = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}
    second = ("memory.max", "memory.current", "inactive_file")
    first = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    for root, path, names in (
        (cgroups, paths.get("", "/"), second),
        (cgroups / "memory", paths.get("memory", "/"), first),
    ):
        folder = root / path.strip("/")
        for parent in (folder, *folder.parents):
            yield (parent, *names)
            if parent == root:
                break


class Room:
    """The free memory, shared by the processes that run at the same time."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._taken_bytes = 0
        self._free_bytes = 0

    @contextmanager
    def take(self, needed_bytes: int) -> Iterator[int]:
        """A context that waits until ``needed_bytes`` are free, and reserves them.

        Yields the bytes that were free when no other caller was inside. A caller that needs more than these
        enters when no other is inside, and must decide what to do.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._fits(needed_bytes))
            self._taken_bytes += needed_bytes
        try:
            yield self._free_bytes
        finally:
            with self._changed:
                self._taken_bytes -= needed_bytes
                self._changed.notify_all()

    def _fits(self, needed_bytes: int) -> bool:
        if not self._taken_bytes:
            self._free_bytes = free_memory_bytes()
            return True
        return self._taken_bytes + needed_bytes <= self._free_bytes


def status_bytes(name: str) -> int:
    """An entry of /proc/self/status in bytes: VmRSS, VmHWM, VmData, … Raises ``MeterUnavailable``.

    No file object is used, because its buffer would be memory of this process, too.
    """
    try:
        status = os.open("/proc/self/status", os.O_RDONLY)
    except OSError as error:
        raise MeterUnavailable(f"this meter needs Linux's /proc/self/status ({reason(error)})") from error
    try:
        _, found, rest = os.read(status, 2048).partition(f"{name}:".encode())
    finally:
        os.close(status)
    if not found:
        raise MeterUnavailable(f"/proc/self/status has no {name}")
    return int(rest.split(maxsplit=1)[0]) * 1024


def _entry(path: Path, name: str) -> int:
    """The number after ``name`` in a file with lines of a name and a number; 0 if there is none."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)


def _number(path: Path) -> int | None:
    """The number in a file; ``None`` if the file does not exist or has no number (``max``)."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
