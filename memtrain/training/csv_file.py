"""A table of numbers in a text file, read in blocks of lines.

A number is a plain decimal number in ASCII (``-1.5e3``), with optional blanks or tabs around it. The first
line names the columns if none of its fields is a number, or if its last field is a name and the others count
up from 0 or 1 (``0,1,2,label``). Otherwise the first line is an example. Only a caller that knows the labels
can find that a first line of numbers (``0,1,2,3``) names the columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from memtrain.errors import DataError
from memtrain.graph.ops.base import Array
from memtrain.units import format_bytes

_BLOCK_BYTES = 256 * 1024
_LONGEST_LINE_BYTES = 64 * 1024**2
_BOM = b"\xef\xbb\xbf"
_PLAIN = b"0123456789+-.eE, \t"
"""Characters of plain decimal numbers. Python's ``float`` accepts no other notation made of these alone."""

_NUMBER = re.compile(rb"[ \t]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[ \t]*")
_NOT_FINITE = re.compile(rb"[ \t]*[+-]?(nan|inf|infinity)[ \t]*", re.IGNORECASE)
_MISSING = {b"", b"na", b"n/a", b"null", b"none", b"nan", b"?", b"-"}
"""Texts that mean a missing value. They are not taken for the name of a column."""


class CsvTable:
    """The table in an open file. Each iteration reads the file from its beginning."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self.columns = 0
        """The number of values in a row. This and the next fields are set when the first block is read."""
        self.counts = False
        """Whether the first example is 0,1,2,… or 1,2,3,…. Such a line may be the names of the columns."""
        self._named = False
        self._first_line = ""

    def lines(self) -> Iterator[list[bytes]]:
        """The lines of the examples, in blocks. Raises ``DataError`` if a line has more or fewer values."""
        count = 0
        for number, block in enumerate(_line_blocks(self._file)):
            lines = block if number else self._without_names(block)
            for example, line in enumerate(lines, start=count + 1):
                if line.count(b",") + 1 != self.columns:
                    raise DataError(
                        f"data file {self._path}: example {example} has {line.count(b',') + 1} values, "
                        f"and the first one has {self.columns}",
                        "give every example the same number of values",
                    )
            count += len(lines)
            if lines:
                yield lines
        if not count:
            raise DataError(f"data file {self._path} is empty", "give a file with at least one example")

    def numbers(self) -> Iterator[Array]:
        """The examples in blocks, (rows, columns) of float64. Raises ``DataError``."""
        count = 0
        for lines in self.lines():
            text = b",".join(lines)
            values = None if text.translate(None, _PLAIN) else _floats(text)
            if values is None:
                raise self._fault(lines, count + 1)
            yield values.reshape(len(lines), self.columns)
            count += len(lines)

    def note(self, names_after_all: bool = False) -> str:
        """A sentence on how the first line was understood; empty for an ordinary example.

        ``names_after_all`` says that the first line is numeric, but was found to name the columns.
        """
        line = f"{self._path}: the first line ({self._first_line})"
        if self._named:
            return f"{line} names the columns"
        if names_after_all:
            return f"{line} is read as the names of the columns: its last number is no label of these data"
        return f"{line} is read as an example; remove it if it names the columns" if self.counts else ""

    def _without_names(self, lines: list[bytes]) -> list[bytes]:
        """The first block of lines without a line of column names. Sets the fields of the table."""
        fields = lines[0].split(b",")
        self._first_line = _shown(lines[0])
        numeric = [_NUMBER.fullmatch(field) or _NOT_FINITE.fullmatch(field) for field in fields]
        named = len(fields) > 2 and not numeric[-1] and fields[-1].strip().lower() not in _MISSING
        if not any(numeric) or (named and _count_up(fields[:-1])):
            lines, self._named = lines[1:], True
        self.counts = not self._named and _count_up(fields)
        self.columns = lines[0].count(b",") + 1 if lines else len(fields)
        return lines

    def _fault(self, lines: list[bytes], first: int) -> DataError:
        """The error for the first wrong number in ``lines``. Their first line is example ``first``."""
        for example, line in enumerate(lines, start=first):
            for column, field in enumerate(line.split(b","), start=1):
                if _NOT_FINITE.fullmatch(field):
                    where = f"input {column}" if column < self.columns else "the last value"
                    return not_finite(self._path, example, where, float(field))
                if not _NUMBER.fullmatch(field):
                    return DataError(
                        f"data file {self._path}: example {example} is not numeric "
                        f"({_shown(field)!r} in {_shown(line)!r})",
                        "write plain numbers (1.5, 2e-3) separated by commas, with the label last",
                    )
        raise AssertionError("every line is numeric")


def not_finite(path: Path, example: int, where: str, value: float) -> DataError:
    """The error for a value that is not a number, or too large for float32."""
    return DataError(
        f"data file {path}: example {example}, {where} is {value}, not a finite number of float32",
        "correct or remove such examples",
    )


def _line_blocks(file: BinaryIO) -> Iterator[list[bytes]]:
    """The non-blank lines of a file, in blocks of at least one line.

    Raises ``ValueError`` for a file that is not text, or has a line that is too long.
    """
    file.seek(0)
    rest = file.read(len(_BOM)).removeprefix(_BOM)
    while block := file.read(_BLOCK_BYTES):
        if b"\0" in block:
            raise ValueError("it holds zero bytes, so it is not a text file of UTF-8")
        end = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
        if end:
            lines = [line for line in (rest + block[:end]).splitlines() if line.strip()]
            rest = block[end:]
            if lines:
                yield lines
        else:
            rest += block
        if len(rest) > _LONGEST_LINE_BYTES:
            raise ValueError(f"a line is longer than {format_bytes(_LONGEST_LINE_BYTES)}")
    if lines := [line for line in rest.splitlines() if line.strip()]:
        yield lines


def _floats(text: bytes) -> Array | None:
    """The numbers of a comma-separated text, as float64; ``None`` if a field is not a number."""
    parts, start = [], 0
    while start <= len(text):
        stop = text.find(b",", start + _BLOCK_BYTES)
        stop = len(text) if stop < 0 else stop
        try:
            parts.append(np.fromiter(map(float, text[start:stop].split(b",")), np.float64))
        except ValueError:
            return None
        start = stop + 1
    return np.concatenate(parts)


def _count_up(fields: list[bytes]) -> bool:
    """Whether there are at least two fields, and they are 0, 1, 2, … or 1, 2, 3, …."""
    first = fields[0].strip()
    if len(fields) < 2 or first not in (b"0", b"1"):
        return False
    return all(field.strip() == str(number).encode() for number, field in enumerate(fields, start=int(first)))


def _shown(text: bytes) -> str:
    return text[:40].decode(errors="replace").strip() + ("…" if len(text) > 40 else "")
