"""The arrays of an ``.npz``, read in blocks. Their claimed sizes are checked before any value is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import prod
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np

from memtrain.graph.ops.base import Array
from memtrain.units import format_bytes

_BLOCK_VALUES = 128 * 1024

_LARGEST_DEFLATION = 1040
"""The largest ratio of decompressed to compressed bytes that is accepted. Deflate reaches at most 1,032."""

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Npz:
    """The arrays of an npz by name. The constructor reads no values.

    Raises ``ValueError``, ``OSError`` or an error of `zipfile` for a file that is not an npz.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._archive = ZipFile(file)
        self._file_bytes = os.fstat(file.fileno()).st_size
        self.names = sorted(
            name.removesuffix(".npy") for name in self._archive.namelist() if name.endswith(".npy")
        )

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def open(self, name: str) -> Member:
        """The array called ``name``. Raises ``ValueError`` if the member is not an array."""
        return Member(self._archive, name, self._file_bytes)


class Member:
    """One array of an npz. Its shape and dtype are known, and its values are still in the file.

    Raises ``ValueError`` for a member that is not an array, or claims to be larger than the file can hold.
    """

    def __init__(self, archive: ZipFile, name: str, file_bytes: int) -> None:
        info = archive.getinfo(f"{name}.npy")
        if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise ValueError(f"{name} is compressed in a way that numpy does not use")
        self._name, self._file = name, archive.open(info)
        version = np.lib.format.read_magic(self._file)
        if version not in _HEADERS:
            raise ValueError(f"{name} is not an array of numbers")
        self.shape, self._fortran_order, self.dtype = _HEADERS[version](self._file)
        if self.dtype.hasobject:
            raise ValueError(f"{name} holds pickled objects")
        if any(size < 0 for size in self.shape):
            raise ValueError(f"{name} has the shape {list(self.shape)}")
        self.nbytes = prod(self.shape) * self.dtype.itemsize
        growth = 1 if info.compress_type == ZIP_STORED else _LARGEST_DEFLATION
        most = min(info.file_size - self._file.tell(), growth * min(info.compress_size, file_bytes))
        if self.nbytes > most:
            raise ValueError(
                f"{name} claims to be {format_bytes(self.nbytes)}, "
                f"but the file holds at most {format_bytes(max(0, most))} of it"
            )

    @property
    def by_rows(self) -> bool:
        """Whether the values of an example are contiguous in the file."""
        return not self._fortran_order or len(self.shape) < 2

    def read(self, count: int) -> Array:
        """The next ``count`` values, in one axis and in the order of the file.

        Raises ``ValueError`` if the file has fewer.
        """
        found = self._file.read(count * self.dtype.itemsize)
        if len(found) < count * self.dtype.itemsize:
            raise ValueError(f"{self._name} ends too early")
        return np.frombuffer(found, self.dtype)

    def rows(self, most: int) -> Iterator[Array]:
        """The array as matrices of at most ``most`` rows. It must be stored ``by_rows``.

        All axes but the first are joined into one. Raises ``ValueError`` if the file has fewer values.
        """
        inputs = prod(self.shape[1:])
        for start in range(0, self.shape[0], most):
            count = min(most, self.shape[0] - start)
            yield self.read(count * inputs).reshape(count, inputs)
        self.end()

    def fill(self, values: Array) -> None:
        """Read the whole array in blocks, cast it, and write it into ``values`` (same shape, C order)."""
        flat = values.reshape(-1) if self.by_rows else values.T.flat
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, values.size, _BLOCK_VALUES):
                count = min(_BLOCK_VALUES, values.size - start)
                flat[start : start + count] = self.read(count)
        self.end()

    def array(self) -> Array:
        """The whole array in its dtype."""
        values = np.empty(self.shape, self.dtype)
        self.fill(values)
        return values

    def end(self) -> None:
        """Read to the end, where the checksum is compared. Raises ``ValueError`` if values are left over."""
        if self._file.read(1):
            raise ValueError(f"{self._name} holds more than its header says")
