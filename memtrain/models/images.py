"""What the networks of images have in common: their feeds, and the sizes that data give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any, ClassVar

import numpy as np

from memtrain.errors import SpecError, check_integer
from memtrain.graph.size import BATCH, Dim
from memtrain.models.layered import Layered
from memtrain.models.network import Feed, FeedKind


@dataclass(frozen=True)
class OfImages(Layered):
    """A network that classifies square images of ``image`` × ``image`` pixels."""

    image: int = 32
    channels: int = 1
    output_size: int = 10

    reads: ClassVar[FeedKind] = FeedKind.IMAGE
    sizes_from_data: ClassVar[tuple[str, ...]] = ("channels", "output_size")
    usual_axes: ClassVar[Mapping[str, Sequence[int]]] = {"depth": (1, 2, 4, 8), "batch": (16, 64)}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("image", "channels", "output_size"):
            check_integer(name, getattr(self, name), 1)

    @classmethod
    def sizes_of(cls, input_count: int, class_count: int) -> dict[str, Any]:
        for channels in (1, 3):
            if _is_image(input_count, channels):
                return {"channels": channels, "output_size": class_count}
        raise SpecError(
            f"examples of {input_count} numbers are no square images with 1 or 3 channels",
            "give examples of k·k or 3·k·k numbers, or use --model mlp",
        )

    def takes(self, input_count: int) -> bool:
        return _is_image(input_count, self.channels)

    def feeds(self, batch: int) -> tuple[Feed, ...]:
        n = batch if isinstance(batch, Dim) else Dim(batch, BATCH)
        side = Dim(self.image, "p")
        shape = (n, side, side, Dim(self.channels, "c"))
        images = Feed("x", FeedKind.IMAGE, shape, np.dtype(self.dtype))
        return images, Feed("y", FeedKind.LABELS, (n,), np.dtype(np.int64), self.output_size)

    @property
    def classes(self) -> int:
        """The number of classes with its symbol."""
        return Dim(self.output_size, "q")


def _is_image(count: int, channels: int) -> bool:
    side = isqrt(count // channels)
    return channels * side * side == count
