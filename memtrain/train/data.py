"""Examples and labels: the digits that ship with memtrain, the user's own file, or seeded noise.

The digits are the UCI "Optical Recognition of Handwritten Digits" test set (E. Alpaydin, C. Kaynak, 1998;
CC BY 4.0), 1,797 images of 8×8 pixels, in the copy that scikit-learn distributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from memtrain.errors import DataError
from memtrain.graph.ops.base import Array

DIGITS = "digits"
SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Dataset:
    """``x`` (examples, input_size) of floats, ``y`` (examples,) of int64 labels 0…output_size − 1."""

    x: Array
    y: Array
    output_size: int

    @property
    def input_size(self) -> int:
        """Numbers per example."""
        return int(self.x.shape[1])

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Array) -> Dataset:
        """The examples of ``rows``."""
        return Dataset(self.x[rows], self.y[rows], self.output_size)


def load(data: str) -> Dataset:
    """The data set of that name or path. Raises ``DataError`` with what is wrong and what to do."""
    return load_digits() if data == DIGITS else load_file(Path(data))


def load_digits() -> Dataset:
    """The 1,797 digits, pixels scaled to −1…1."""
    with resources.files("memtrain.train").joinpath("digits.npz").open("rb") as file:
        arrays = np.load(file)
        return Dataset(arrays["x"].astype(np.float32) / 8 - 1, arrays["y"].astype(np.int64), 10)


def synthetic(input_size: int, output_size: int, examples: int, seed: int) -> Dataset:
    """Normal noise with random labels: any shape can be studied."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((examples, input_size), np.float32)
    return Dataset(x, rng.integers(0, output_size, examples), output_size)


def load_file(path: Path) -> Dataset:
    """Read ``.npz`` (arrays x and y) or ``.csv`` (a row per example, its label last; a header may be)."""
    x, y = _read(path, labelled=True)
    if y is None:
        raise _unreadable(path, "it has no labels")
    return _checked(path, x, y)


def load_examples(data: str, input_size: int, output_size: int) -> tuple[Array, Array | None]:
    """Examples to predict, (examples, input_size) of float32, and their labels if the data have them.

    A ``.csv`` has labels when it has a column more than ``input_size``, a ``.npz`` when it has a ``y``.
    Raises ``DataError``.
    """
    x: Array
    y: Array | None
    if data == DIGITS:
        digits = load_digits()
        x, y = digits.x, digits.y
    else:
        x, y = _read(Path(data), labelled=False)
        if y is None and x.shape[1:] == (input_size + 1,):
            x, y = x[:, :-1], x[:, -1]
        x = _checked_examples(Path(data), x)
    if x.shape[1] != input_size:
        raise DataError(
            f"data {data!r} have {x.shape[1]} numbers per example",
            f"allowed: {input_size}, as the model was trained with (and a label for each example, or none)",
            "give such data",
        )
    if y is not None and (
        y.shape != x.shape[:1] or y.dtype.kind not in "fiub" or not np.isin(y, np.arange(output_size)).all()
    ):
        raise DataError(
            f"data {data!r} have labels that do not fit: {list(y.shape)} {y.dtype} for {len(x)} examples",
            f"allowed: one of 0…{output_size - 1} for each example, or no labels",
            "mend the labels, or leave them out",
        )
    return x, y


def _read(path: Path, labelled: bool) -> tuple[Array, Array | None]:
    """What a data file holds. A table without labels is all examples."""
    readers = {".npz": _read_npz, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise DataError(
            f"data {str(path)!r}", "allowed: digits, a .npz or a .csv file", "name the file with its ending"
        )
    try:
        regular, there = path.is_file(), path.exists()
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error
    if not regular:
        found = "is not a regular file" if there else "does not exist"
        raise DataError(f"data file {path} {found}", "allowed: a readable file", "check the path")
    try:
        return readers[path.suffix.lower()](path, labelled)
    except DataError:
        raise
    except (
        Exception,
        MemoryError,
    ) as error:  # whatever a broken or hostile file makes its reader stumble over
        raise _unreadable(path, str(error).partition("\n")[0] or type(error).__name__) from error


def split(data: Dataset, test_share: float = 0.2) -> tuple[Dataset, Dataset]:
    """A fixed stratified split into training and test examples: the same on every call."""
    rng = np.random.default_rng(0)
    test = np.zeros(len(data), bool)
    for label in range(data.output_size):
        rows = np.flatnonzero(data.y == label)
        test[rng.permutation(rows)[: round(test_share * len(rows))]] = True
    return data.take(np.flatnonzero(~test)), data.take(np.flatnonzero(test))


def draw_rows(examples: int, batch: int, seed: int) -> Iterator[Array]:
    """Row numbers of one batch after another, for ever: every row once before any row again.

    A batch larger than the data therefore holds rows more than once.
    """
    rng = np.random.default_rng([seed, examples])
    waiting = rng.permutation(examples)
    while True:
        rows = np.empty(batch, np.intp)
        filled = 0
        while filled < batch:
            if not len(waiting):
                waiting = rng.permutation(examples)
            taken = waiting[: batch - filled]
            rows[filled : filled + len(taken)] = taken
            filled += len(taken)
            waiting = waiting[len(taken) :]
        yield rows


def _unreadable(path: Path, why: str) -> DataError:
    return DataError(
        f"data file {path} cannot be read ({why})",
        "allowed: a .npz of numbers, without pickled objects, or a .csv",
        "check the path, or write it again: np.savez(path, x=…, y=…)",
    )


def _read_npz(path: Path, labelled: bool) -> tuple[Array, Array | None]:
    with path.open("rb") as file:  # opened here, so that it is closed whatever np.load makes of it
        arrays = np.load(file, allow_pickle=False)
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array, not x and y")
        missing = [name for name in ("x", "y") if name not in arrays and (labelled or name == "x")]
        if missing:
            raise DataError(
                f"data file {path} has the arrays {sorted(arrays)}",
                "allowed: x (examples, inputs) and y (examples,)",
                f"save it with np.savez(path, x=…, y=…); {' and '.join(missing)} is missing",
            )
        x, y = arrays["x"], arrays.get("y")
    if not all(isinstance(found, np.ndarray) for found in (x, y) if found is not None):
        raise ValueError("x and y are not both arrays")
    return x, y


def _read_csv(path: Path, labelled: bool) -> tuple[Array, Array | None]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        lines = [line for line in file.read().splitlines() if line.strip()]
    if lines and not any(_numbers(field) for field in lines[0].split(",")):
        lines = lines[1:]  # names of the columns
    if not lines:
        raise DataError(f"data file {path} is empty", "allowed: at least one example", "check the path")
    columns = lines[0].count(",") + 1
    for number, line in enumerate(lines, start=1):
        if line.count(",") + 1 != columns:
            raise DataError(
                f"data file {path}: example {number} has {line.count(',') + 1} values, not {columns}",
                "allowed: rows of equal length",
                "fill or remove the ragged row",
            )
        if not _numbers(line):
            raise DataError(
                f"data file {path}: example {number} is not numeric ({line[:40]!r})",
                "allowed: numbers separated by commas, the label last",
                "encode text as numbers",
            )
    table = np.array([line.split(",") for line in lines], dtype=np.float64)
    return (table[:, :-1], table[:, -1]) if labelled else (table, None)


def _numbers(line: str) -> bool:
    try:
        [float(field) for field in line.split(",")]
    except ValueError:
        return False
    return True


_ALLOWED = "allowed: x (examples, inputs) and y (examples,), numbers, at least one example and input"


def _checked(path: Path, x: Array, y: Array) -> Dataset:
    if y.dtype.kind not in "fiub":
        raise DataError(f"data file {path} is not numeric (labels {y.dtype})", _ALLOWED, "convert it")
    if y.ndim != 1 or len(y) != (len(x) if x.ndim else 0):
        raise DataError(
            f"data file {path} has x {list(x.shape)} and y {list(y.shape)}", _ALLOWED, "reshape or fill it"
        )
    values = _checked_examples(path, x)
    classes = np.unique(y)
    if not np.array_equal(classes, np.arange(len(classes))):
        shown = ", ".join(f"{label:g}" for label in classes[:8]) + (", …" if len(classes) > 8 else "")
        raise DataError(
            f"data file {path} has the labels {shown}",
            f"allowed: every whole number 0…q−1 (here 0…{len(classes) - 1}) at least once",
            "number the classes from 0",
        )
    return Dataset(values, y.astype(np.int64), len(classes))


def _checked_examples(path: Path, x: Array) -> Array:
    """``x`` as a matrix of finite float32."""
    if x.dtype.kind not in "fiub":
        raise DataError(f"data file {path} is not numeric ({x.dtype})", _ALLOWED, "convert it")
    if x.ndim > 2 and x.size:
        x = x.reshape(len(x), -1)  # images
    if x.ndim != 2 or not x.size:
        raise DataError(f"data file {path} has x {list(x.shape)}", _ALLOWED, "reshape or fill it")
    with np.errstate(over="ignore", invalid="ignore"):
        values = x.astype(np.float32)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"data file {path}: example {row + 1}, input {column + 1} is {x[row, column]}",
            "allowed: finite numbers that fit a float32",
            "fill or remove such examples",
        )
    return values
