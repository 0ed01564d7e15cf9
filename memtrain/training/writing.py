"""Text that a language model writes: it goes on with the first half of an example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from memtrain.graph.ops.base import Array
from memtrain.models.network import FeedKind, Network
from memtrain.run.allocation import PACKED
from memtrain.training.data import Part
from memtrain.training.prediction import Predictor
from memtrain.training.text import BYTE_COUNT

TEMPERATURE = 0.5
"""The outputs are divided by this number, so that probable bytes become more probable."""


@dataclass(frozen=True)
class Written:
    """The beginning of a text, and how a language model goes on."""

    beginning: str
    continuation: str


def write(
    network: Network, parameters: Mapping[str, Array], part: Part, seed: int, allocation: str = PACKED
) -> Written | None:
    """The first example of ``part``, whose second half the network writes.

    It is ``None`` for a network whose tokens are not bytes, and for outputs that are not finite. Each byte is
    drawn from the softmax of the outputs ÷ `TEMPERATURE`. The bytes that follow the last known byte are 0;
    they do not matter, since no output depends on later tokens.
    """
    if network.reads is not FeedKind.TOKENS or network.class_count != BYTE_COUNT:
        return None
    tokens = part.take(np.arange(1)).x.copy()
    length = tokens.shape[1]
    known = (length + 1) // 2
    tokens[0, known:] = 0
    predictor, rng = Predictor(network, 1, parameters, allocation), np.random.default_rng(seed)
    for place in range(known, length):
        outputs = predictor.outputs(tokens)[place - 1].astype(np.float64) / TEMPERATURE
        shares = np.exp(outputs - outputs.max())
        if not np.isfinite(shares).all():
            return None
        tokens[0, place] = rng.choice(BYTE_COUNT, p=shares / shares.sum())
    return Written(_shown(tokens[0, :known]), _shown(tokens[0, known:]).rstrip())


def _shown(tokens: Array) -> str:
    """The bytes as printable text in one line; whatever is not printable is a replacement character."""
    text = tokens.astype(np.uint8).tobytes().decode("utf-8", "replace")
    return "".join(" " if letter.isspace() else letter if letter.isprintable() else "�" for letter in text)
