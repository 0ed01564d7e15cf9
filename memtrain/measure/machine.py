"""What the machine has left: memory that is free, bounded by a control group where there is one."""

from __future__ import annotations

from pathlib import Path

import psutil

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


def _number(path: Path) -> int | None:
    """The number in a file; ``None`` when there is no such file, or no number in it (``max``)."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
