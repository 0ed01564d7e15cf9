"""What the machine has left, bounded by a control group where there is one, and what this process has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition

import psutil

from memtrain.errors import MeterUnavailable

_CGROUP = Path("/sys/fs/cgroup")
_LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
"""Limit and use, in version 2 and in version 1."""


def free_memory_bytes(cgroup: Path = _CGROUP) -> int:
    """Bytes that a process can still take: the least of what the host and its control group have left."""
    free = psutil.virtual_memory().available
    for limit_file, used_file in _LIMITS:
        limit, used = (_number(cgroup / name) for name in (limit_file, used_file))
        if limit is not None and used is not None:
            free = min(free, max(0, limit - used))
    return free


class Room:
    """Free memory, shared out among what runs at the same time."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._taken_bytes = 0

    @contextmanager
    def take(self, needed_bytes: int) -> Iterator[None]:
        """Wait until there is room beside the others; whoever is alone may try in any case."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._taken_bytes or self._taken_bytes + needed_bytes <= free_memory_bytes()
            )
            self._taken_bytes += needed_bytes
        try:
            yield
        finally:
            with self._changed:
                self._taken_bytes -= needed_bytes
                self._changed.notify_all()


ROOM = Room()


def status_bytes(name: str) -> int:
    """An entry of this process's /proc/self/status: VmRSS, VmHWM, VmData, … Raises ``MeterUnavailable``.

    Read without a file object, whose buffer would be mapped, and counted, while it reads.
    """
    try:
        status = os.open("/proc/self/status", os.O_RDONLY)
    except OSError as error:
        raise MeterUnavailable(f"this meter needs Linux's /proc/self/status ({error})") from error
    try:
        _, found, rest = os.read(status, 2048).partition(f"{name}:".encode())
    finally:
        os.close(status)
    if not found:
        raise MeterUnavailable(f"/proc/self/status has no {name}")
    return int(rest.split(maxsplit=1)[0]) * 1024


def _number(path: Path) -> int | None:
    """The number in a file; ``None`` when there is no such file, or no number in it (``max``)."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
