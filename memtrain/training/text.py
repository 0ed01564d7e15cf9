"""Text for language models: the bytes of a file, or those of Python's own language reference.

A token is a byte, so the vocabulary has 256 tokens. An example is a window of the text; its labels are the
bytes that follow each of its bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar

import numpy as np

from memtrain.errors import DataError
from memtrain.files import open_regular, reason
from memtrain.graph.ops.base import Array
from memtrain.training.data import Dataset
from memtrain.units import format_bytes

TOPICS = "topics"
"""The name of the text that every Python carries: the topics that its ``help()`` shows."""

TXT = ".txt"
BYTE_COUNT = 256
_TEST_SHARE = 5
"""The last fifth of a text is for the test."""


@dataclass(frozen=True)
class Text:
    """A text as uint8 tokens, one for each byte."""

    tokens: Array
    name: str
    note: ClassVar[str] = ""
    """A text is always understood in one way."""

    @property
    def nbytes(self) -> int:
        """Bytes of the tokens."""
        return self.tokens.nbytes

    def digest(self) -> str:
        """A digest of the text."""
        return blake2b(self.tokens.data, digest_size=16).hexdigest()


@dataclass(frozen=True)
class Windows:
    """The windows of ``sequence`` tokens of a text that do not overlap. Each is an example."""

    text: Text
    sequence: int

    def __len__(self) -> int:
        return max(0, (len(self.text.tokens) - 1) // self.sequence)

    @property
    def nbytes(self) -> int:
        """Bytes of the text. The windows are views of it."""
        return self.text.nbytes

    def rows(self) -> tuple[Array, Array]:
        """The numbers of the windows for training and for the test: the last fifth of the text.

        Raises ``DataError`` for a text that is too short.
        """
        count = len(self)
        test = count // _TEST_SHARE
        if not test:
            raise DataError(
                f"the text {self.text.name} has {len(self.text.tokens):,} bytes, too few for {_TEST_SHARE} "
                f"sequences of {self.sequence}",
                "give a longer text or a shorter --sequence",
            )
        numbers = np.arange(count, dtype=np.min_scalar_type(count - 1))
        return numbers[: count - test], numbers[count - test :]

    def take(self, rows: Array) -> Dataset:
        """The tokens (rows, sequence) of windows, and as labels the token after each of them."""
        starts = np.asarray(rows, np.int64)[:, None] * self.sequence
        positions = starts + np.arange(self.sequence)
        tokens = self.text.tokens
        return Dataset(tokens[positions].astype(np.int64), tokens[positions + 1].astype(np.int64), BYTE_COUNT)


def load_topics() -> Text:
    """The topics of Python's language reference, which ``help()`` shows. Raises ``DataError``."""
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataError(
            "this Python has no pydoc_data.topics, whose text memtrain uses", "give --data FILE.txt"
        ) from error
    text = "\n".join(topics[name] for name in sorted(topics))
    return Text(np.frombuffer(text.encode(), np.uint8), TOPICS)


def load_text(path: Path, free_bytes: int | None = None) -> Text:
    """The bytes of a text file. Raises ``DataError`` if it is empty or cannot be read."""
    try:
        with open_regular(path) as file:
            size = path.stat().st_size
            if free_bytes is not None and size > free_bytes:
                raise DataError(
                    f"data file {path} has {format_bytes(size)}, and {format_bytes(free_bytes)} are free",
                    "give a shorter text",
                )
            content = file.read()
    except (OSError, ValueError) as error:
        raise DataError(
            f"data file {path} cannot be read ({reason(error)})", "name a .txt file that can be read"
        ) from error
    if not content:
        raise DataError(f"data file {path} is empty", "give a text")
    return Text(np.frombuffer(content, np.uint8), str(path))
