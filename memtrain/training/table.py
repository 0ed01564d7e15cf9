"""Data files: their formats, the errors for unusable files, and reading a whole file into memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from memtrain.errors import DataError
from memtrain.files import open_regular, reason
from memtrain.graph.node import DType
from memtrain.graph.ops.base import Array
from memtrain.training.csv_file import CsvTable, not_finite
from memtrain.training.npz_file import Member, Npz
from memtrain.units import format_bytes

NPZ, CSV = ".npz", ".csv"
BLOCK_BYTES = 1024**2
"""The approximate number of bytes of examples that are read at a time."""

_WANTED = "give numbers: x (examples, inputs), at least one of each, and y (examples,)"


@contextmanager
def open_data(path: Path) -> Iterator[BinaryIO]:
    """A context with the data file open for reading. Any error inside it becomes a ``DataError``."""
    if path.suffix.lower() not in (NPZ, CSV):
        raise DataError(_no_data(path), "use digits, or the path of a .csv or .npz file")
    try:
        file = open_regular(path)
    except FileNotFoundError as error:
        raise DataError(f"data file {path} does not exist", "check the path, or use digits") from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"data file {path} cannot be read ({reason(error)})", "name a .csv or .npz file that can be read"
        ) from error
    with file:
        try:
            yield file
        except DataError:
            raise
        except (Exception, MemoryError) as error:  # a hostile file can make its reader raise any error
            raise DataError(
                f"data file {path} cannot be read ({reason(error)})",
                "save it again: numbers as a .csv, or np.savez(path, x=…, y=…) without pickled objects",
            ) from error


def _no_data(path: Path) -> str:
    """Why a path that ends neither in ``.npz`` nor in ``.csv`` is not a data file."""
    if path.is_dir():
        return f"data {str(path)!r} is a directory"
    if path.suffix or path.exists():
        return f"data file {str(path)!r} does not end with {CSV} or {NPZ}"
    return f"there are no examples under the name {str(path)!r}"


def load_table(path: Path, free_bytes: int | None) -> tuple[Array, Array, str]:
    """The examples of a file as float32, its labels unchanged, and a note on its first line.

    ``.npz`` has the arrays x and y, ``.csv`` a row per example with its label last. At most the result and
    one block of the file are in memory. Raises ``DataError``, also for data that need more than
    ``free_bytes``. The note says how the first line was understood; it is empty if this was clear.
    """
    with open_data(path) as file:
        if path.suffix.lower() == NPZ:
            return (*_load_npz(path, Npz(file), free_bytes), "")
        return _load_csv(path, CsvTable(path, file), free_bytes)


def _load_npz(path: Path, arrays: Npz, free_bytes: int | None) -> tuple[Array, Array]:
    require(path, arrays, "x", "y")
    x, y = arrays.open("x"), arrays.open("y")
    check_numeric(path, y.dtype, "labels ")
    if len(y.shape) != 1 or y.shape[:1] != x.shape[:1]:
        raise DataError(
            f"data file {path} has x of shape {list(x.shape)} and y of shape {list(y.shape)}", _WANTED
        )
    count, inputs = matrix_shape(path, x)
    check_room(path, 4 * count * inputs + y.nbytes, free_bytes)
    if not x.by_rows:
        return filled(path, x), y.array()
    values, first = np.empty((count, inputs), np.float32), 0
    for block in x.rows(rows_at_a_time(inputs)):
        values[first : first + len(block)] = as_float32(path, block, first)
        first += len(block)
    return values, y.array()


def _load_csv(path: Path, table: CsvTable, free_bytes: int | None) -> tuple[Array, Array, str]:
    """Read the file twice: first to count the rows, then to fill an array of exactly this size."""
    count, inputs = sum(map(len, table.lines())), table.columns - 1
    if not inputs:
        raise _empty(path, (count, inputs))
    check_room(path, count * (4 * inputs + 8), free_bytes)
    x, y, first = np.empty((count, inputs), np.float32), np.empty(count), 0
    for block in table.numbers():
        stop = first + len(block)
        x[first:stop] = as_float32(path, block[:, :-1], first)
        y[first:stop] = block[:, -1]
        first = stop
    if table.counts and count > 1 and not (y[1:] == y[0]).any():
        return x[1:], y[1:], table.note(names_after_all=True)
    return x, y, table.note()


def require(path: Path, arrays: Npz, *names: str) -> None:
    """Raise ``DataError`` unless there is an array for each of ``names``."""
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DataError(
            f"data file {path} has no array {' and no '.join(missing)}; it has {_listed(arrays.names)}",
            "save x (examples, inputs) and y (examples,) with np.savez(path, x=…, y=…)",
        )


def _listed(names: list[str]) -> str:
    """The text of a list of names, of which it has at most six."""
    return ", ".join([*names[:6], *(["…"] if names[6:] else [])]) or "none"


def check_numeric(path: Path, dtype: DType, what: str = "") -> None:
    """Raise ``DataError`` unless values of this type are numbers."""
    if dtype.kind not in "fiub":
        raise DataError(f"data file {path} is not numeric ({what}{dtype})", _WANTED)


def matrix_shape(path: Path, x: Member) -> tuple[int, int]:
    """The number of examples, and the number of values in each, which can have several axes (images).

    Raises ``DataError`` for an array that is not numeric, or is empty.
    """
    check_numeric(path, x.dtype)
    if len(x.shape) < 2 or not prod(x.shape):
        raise _empty(path, x.shape)
    return x.shape[0], prod(x.shape[1:])


def _empty(path: Path, shape: tuple[int, ...]) -> DataError:
    return DataError(f"data file {path} has x of shape {list(shape)}", _WANTED)


def check_room(path: Path, needed_bytes: int, free_bytes: int | None) -> None:
    """Raise ``DataError`` for data that need more than is free. A quarter is added for their reading."""
    if free_bytes is not None and needed_bytes + needed_bytes // 4 > free_bytes:
        raise DataError(
            f"data file {path} takes {format_bytes(needed_bytes)} of memory, and a quarter more while it is "
            f"read; {format_bytes(free_bytes)} are free",
            "use fewer examples or fewer inputs",
        )


def rows_at_a_time(inputs: int) -> int:
    """The number of examples in a block, for examples with ``inputs`` values."""
    return min(16 * 1024, max(1, BLOCK_BYTES // (4 * inputs)))


def filled(path: Path, x: Member) -> Array:
    """All examples as a matrix of float32. The array may be stored column by column."""
    values = np.empty(x.shape, np.float32)
    x.fill(values)
    matrix = values.reshape(x.shape[0], -1)
    rows = rows_at_a_time(matrix.shape[1])
    for first in range(0, len(matrix), rows):
        as_float32(path, matrix[first : first + rows], first)
    return matrix


def as_float32(path: Path, x: Array, first: int) -> Array:
    """A block of examples as float32. Raises ``DataError`` if one is not finite.

    ``first`` examples come before the block.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        values = x.astype(np.float32, copy=False)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise not_finite(path, first + int(row) + 1, f"input {column + 1}", x[row, column])
    return values
