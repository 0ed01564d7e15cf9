"""Reading files: regular ones only, and the reason where one cannot be read."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)
"""What a path can be besides a regular file."""


def open_regular(path: Path, most_bytes: int | None = None) -> BufferedReader:
    """``path``, open for reading bytes. Raises ``OSError`` for what is no regular file, or is too large.

    A pipe could keep its reader waiting for ever, and a device may have no end.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"it is {kind_of(found.st_mode)}, not a regular file")
    if most_bytes is not None and found.st_size > most_bytes:
        raise OSError(f"it has {found.st_size:,} bytes; at most {most_bytes:,} are read")
    return open(path, "rb")


def kind_of(mode: int) -> str:
    """What a path is that is no regular file, by its ``st_mode``, with its article."""
    return next((name for is_one, name in _KINDS if is_one(mode)), "a special file")


def reason(error: BaseException) -> str:
    """Why something failed, in one line without the path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0] or type(error).__name__
