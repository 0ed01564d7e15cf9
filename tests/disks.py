"""Disks that fill up."""

from __future__ import annotations

import os


def fill(disk, leave):
    """Fill a disk, except for ``leave`` bytes."""
    room = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with open(disk / "filler", "wb") as file:
        file.write(bytes(max(0, room - leave)))
