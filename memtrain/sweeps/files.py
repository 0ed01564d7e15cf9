"""Files that are whole at any moment: written beside, seen to the disk, then put in place."""

from __future__ import annotations

import csv
import io
import os
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import get_ident

from memtrain.errors import InputError, StoreError

Content = str | bytes | Iterable[str]
"""What a file holds; pieces of text are written one by one, as they are made."""


def write_new(path: Path, content: Content, force: bool) -> None:
    """Write a whole file. Raises ``InputError`` when it exists and ``force`` is not set."""
    refuse_existing(path, force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str) and not content.endswith("\n"):
            content += "\n"
        write_whole(path, content)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; choose another place") from error


def write_whole(path: Path, content: Content) -> None:
    """Put ``content`` in place of what ``path`` holds, all of it or nothing. Raises ``OSError``."""
    pieces = _pieces(content)
    if path.exists() and not path.is_file():  # a pipe or device has no place to be put in
        with path.open("wb") as target:
            target.writelines(pieces)
        return
    path = path.resolve()
    beside = path.with_name(f".{path.name[:100]}.{os.getpid()}-{get_ident()}.new")
    try:
        with open(beside, "xb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):
            os.chmod(beside, path.stat().st_mode & 0o777)  # as it was, if it was there
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
    _sync_folder(path.parent)


def _pieces(content: Content) -> Iterable[bytes]:
    if isinstance(content, bytes):
        return (content,)
    texts = (content,) if isinstance(content, str) else content
    return (text.encode("utf-8", errors="surrogateescape") for text in texts)


def _sync_folder(folder: Path) -> None:
    """See to the disk that the file has its name."""
    with suppress(OSError):  # not every file system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_outputs(
    outputs: Mapping[str, Path | None], force: bool, inputs: Iterable[str | Path | None] = ()
) -> None:
    """Raise ``InputError``, before anything runs, for outputs (by option) that cannot all be written.

    ``inputs`` are what the command reads: no force makes an output of them.
    """
    used: dict[Path, str] = {}
    for given in inputs:
        with suppress(OSError, ValueError):
            if given is not None:
                used[Path(given).resolve()] = "what is read"
    for option, path in outputs.items():
        if path is None:
            continue
        if path == Path():
            raise InputError(f"{option} is empty", "allowed: the path of a file", "name one")
        try:
            place = path.resolve()
            parents = [parent for parent in place.parents if parent.exists()]
            if path.is_dir() or not parents[0].is_dir():
                wrong = path if path.is_dir() else parents[0]
                what = "is a directory" if path.is_dir() else "is not a directory"
                raise InputError(f"{option}: {wrong} {what}", "allowed: the path of a file", "name another")
            refuse_existing(path, force)
        except OSError as error:
            raise InputError(
                f"{option}: {str(path)[:40]!r}… ({error.strerror})",
                "allowed: the path of a file",
                "name another",
            ) from error
        if place in used:
            raise InputError(f"{path} for {used[place]} and {option}", "allowed: a file each", "name another")
        used[place] = option


def refuse_existing(path: Path, force: bool) -> None:
    """Raise ``InputError`` for a file that exists, unless it may be overwritten; a pipe or device may."""
    if not force and path.is_file():
        raise already_there(path)


def already_there(path: Path, remedy: str = "name another file or add --force") -> InputError:
    """The error for an output that exists."""
    return InputError(f"{path} exists already", "allowed: a new file, or any with --force", remedy)


def csv_line(values: Iterable[object]) -> str:
    """A line of a CSV: missing is empty, truth is ``true`` or ``false``."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(map(as_text, values))
    return line.getvalue()


def as_text(value: object) -> object:
    """``value`` as a CSV has it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value


def quoted(word: str) -> str:
    """``word`` as a shell reads it back, also with bytes that are no text, and tabs."""
    content = os.fsencode(word)
    if word.isprintable() and content.decode(errors="ignore") == word:
        return shlex.quote(word)
    plain = {byte: chr(byte) for byte in range(32, 127) if chr(byte) not in "\\'"}
    return "$'" + "".join(plain.get(byte, f"\\x{byte:02x}") for byte in content) + "'"
