"""Reading files: regular ones only, and the reason where one cannot be read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)
"""What a path can be besides a regular file."""


def open_regular(path: Path) -> BinaryIO:
    """``path``, open for reading bytes. Raises ``OSError`` for what is not a regular file.

    A pipe could keep its reader waiting for ever, and a device may have no end.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kind = next((name for is_one, name in _KINDS if is_one(mode)), "a special file")
        raise OSError(f"it is {kind}, not a regular file")
    return open(path, "rb")


def reason(error: BaseException) -> str:
    """Why something failed, in one line without the path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0] or type(error).__name__
