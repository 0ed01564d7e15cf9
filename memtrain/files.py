"""Files: they are read only if regular, written as a whole, and overwritten only if the user requests it.

A file is complete at any moment: its new content is written to a temporary file in the same folder, synced to
the disk and renamed. The folder of an output must exist. Only `RESULTS`, the default folder of rows, is made
if it does not exist.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from errno import EACCES, EFBIG, ENOSPC
from io import BufferedReader
from pathlib import Path
from secrets import token_hex

from memtrain.errors import InputError, StoreError, shown

RESULTS = Path("results")
"""The default folder of rows. No other folder is made if it does not exist."""

MOST_RESULTS_BYTES = 2 * 1024**3
"""The largest CSV or journal of results that is read."""

Content = str | bytes | Iterable[str]
"""The content of a file. Pieces of text are written one after the other, as the iterable gives them."""

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)
"""The kinds of files that are not regular."""


def open_regular(path: Path, most_bytes: int | None = None) -> BufferedReader:
    """``path``, open for reading bytes. Raises ``OSError`` unless it is a regular file, and small enough.

    A reader of a pipe might wait for ever, and a device may have no end.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"it is {kind_of(found.st_mode)}, not a regular file")
    if most_bytes is not None and found.st_size > most_bytes:
        raise OSError(f"it has {found.st_size:,} bytes; at most {most_bytes:,} are read")
    return open(path, "rb")


def kind_of(mode: int) -> str:
    """The kind of a file that is not regular, by its ``st_mode``: "a pipe"."""
    return next((name for is_one, name in _KINDS if is_one(mode)), "a special file")


def reason(error: BaseException) -> str:
    """The reason of an error in one line, without the path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0] or type(error).__name__


def is_special(path: Path) -> bool:
    """Whether ``path`` is a pipe or a device. Such a path is written to, and never replaced by a file."""
    return path.exists() and not path.is_file()


def write_new(path: Path, content: Content, force: bool) -> None:
    """Write a whole file. Raises ``InputError`` if it exists, unless ``force``, and ``StoreError``."""
    refuse_existing(path, force)
    if isinstance(content, str) and not content.endswith("\n"):
        content += "\n"
    try:
        make_results_folder(path)
        write_whole(path, content)
    except OSError as error:
        raise cannot_write(path, error) from error


def make_results_folder(path: Path) -> None:
    """Make the folder of ``path`` if it is `RESULTS`. Raises ``OSError``."""
    if path.parent == RESULTS:
        RESULTS.mkdir(exist_ok=True)


def write_whole(path: Path, content: Content) -> None:
    """Replace the content of a file with ``content``, completely or not at all. Raises ``OSError``.

    A pipe or a device is written to directly, and can receive a part of ``content`` only.
    """
    pieces = _pieces(content)
    if is_special(path):
        with path.open("wb") as target:
            target.writelines(pieces)
        return
    path = path.resolve()
    beside = _write_beside(path.parent, pieces)
    try:
        with suppress(OSError):
            os.chmod(beside, path.stat().st_mode & 0o777)  # the mode of the old file, if there was one
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


def _write_beside(folder: Path, pieces: Iterable[bytes]) -> Path:
    """The path of a new file in ``folder``, synced to the disk. Its name is short even for a long target."""
    beside = folder / f".memtrain-{os.getpid()}-{token_hex(4)}.new"
    try:
        with open(beside, "xb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
    return beside


def _sync_folder(folder: Path) -> None:
    """Sync the folder to the disk, so that the new name of the file lasts."""
    with suppress(OSError):  # not every file system can sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_outputs(
    outputs: Mapping[str, Path | None], force: bool, inputs: Iterable[str | Path | None] = ()
) -> None:
    """Raise an error, before anything runs, if the ``outputs`` (paths by option) cannot all be written.

    ``inputs`` are the files that the command reads. Even ``force`` does not overwrite them. Raises
    ``InputError`` for paths that cannot be outputs, and ``StoreError`` if no file can be written now in the
    folder of an output.
    """
    used: dict[Path, str] = {}
    for given in inputs:
        with suppress(OSError, ValueError, RuntimeError):
            if given is not None:
                used[Path(given).resolve()] = "an input"
    wanted = {option: path for option, path in outputs.items() if path is not None}
    for option, path in wanted.items():
        target = _checked_path(option, path)
        refuse_existing(path, force)
        if target in used:
            raise InputError(f"{path} is {used[target]} and the output of {option}", "name another file")
        used[target] = f"the output of {option}"
    for path in wanted.values():
        try:
            _try_to_write(path)
        except OSError as error:
            raise cannot_write(path, error) from error


def _checked_path(option: str, path: Path) -> Path:
    """``path`` with its links resolved. Raises ``InputError`` if no file can be written there."""
    if path == Path():
        raise InputError(f"{option} is empty", "give the path of a file")
    try:
        resolved = path.resolve()
        folder, found = resolved.parent, _stat(path)
        above = _stat(folder)
    except (OSError, RuntimeError, ValueError) as error:  # Python < 3.13: RuntimeError for a loop of links
        raise InputError(
            f"{option}: {shown(path)} cannot be a file ({reason(error)})", "give another path"
        ) from error
    if found is not None and (stat.S_ISFIFO(found.st_mode) or stat.S_ISCHR(found.st_mode)):
        return resolved
    if found is not None and not stat.S_ISREG(found.st_mode):
        raise InputError(f"{option}: {path} is {kind_of(found.st_mode)}", "give the path of a file")
    if above is None and path.parent != RESULTS:
        raise InputError(
            f"{option} {path}: the folder {folder} does not exist",
            f"make it first: mkdir -p {quoted(str(folder))}",
        )
    if above is not None and not stat.S_ISDIR(above.st_mode):
        raise InputError(f"{option} {path}: {folder} is a file, not a folder", "give another path")
    return resolved


def _stat(path: Path) -> os.stat_result | None:
    """The status of ``path``; ``None`` if it does not exist. Raises ``OSError`` if it cannot be read."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _try_to_write(path: Path) -> None:
    """Write one byte in the way of `write_whole`, and remove it again. Raises ``OSError``."""
    if is_special(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(EACCES, os.strerror(EACCES))
        return
    folder = path.resolve().parent
    os.unlink(_write_beside(folder if folder.exists() else folder.parent, [b"\n"]))


def cannot_write(path: Path, error: OSError, done: str = "") -> StoreError:
    """The error for an output that cannot be written, with a remedy. ``done`` says what was done before."""
    remedies = {
        EFBIG: "raise the limit on file sizes (ulimit -f)",
        ENOSPC: "free some space, or write to another disk",
    }
    remedy = remedies.get(error.errno or 0, "choose another path")
    return StoreError("; ".join(filter(None, [f"cannot write {path}: {error.strerror}", done, remedy])))


def refuse_existing(path: Path, force: bool) -> None:
    """Raise ``InputError`` for a file that exists, unless ``force``. Pipes and devices are always allowed."""
    if not force and path.is_file():
        raise already_there(path)


def already_there(path: Path, remedy: str = "name another file or add --force") -> InputError:
    """The error for an output that exists already."""
    return InputError(f"{path} exists already", remedy)


def quoted(word: str) -> str:
    """``word`` quoted for a shell, even if it contains tabs or bytes that are not text."""
    content = os.fsencode(word)
    if word.isprintable() and content.decode(errors="ignore") == word:
        return shlex.quote(word)
    plain = {byte: chr(byte) for byte in range(32, 127) if chr(byte) not in "\\'"}
    return "$'" + "".join(plain.get(byte, f"\\x{byte:02x}") for byte in content) + "'"
