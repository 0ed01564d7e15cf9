"""Snapshots: an npz with the parameters of a network and its description. Loading one executes no code."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from memtrain.errors import DataError
from memtrain.files import open_regular, reason
from memtrain.graph.node import Node
from memtrain.graph.ops.base import Array
from memtrain.models.families import read_network
from memtrain.models.network import Network
from memtrain.training.npz_file import Npz
from memtrain.units import format_bytes

_SPEC = "network"
"""The member with the network as JSON. Except for the digest, the other members are its parameters."""

_DIGEST = "data_digest"
"""The member with the digest of the training data. Older snapshots have none."""

_LONGEST_TEXT_BYTES = 8 * 1024**2
"""The most bytes of a text member. The description of any network is shorter."""


@dataclass(frozen=True)
class Snapshot:
    """A trained network."""

    network: Network
    batch: int
    """The number of examples in a batch, for training and for prediction."""
    parameters: Mapping[str, Array]
    data_digest: str | None = None
    """The digest of the data that were split into training and test examples, if known."""


def snapshot_bytes(snapshot: Snapshot) -> bytes:
    """The snapshot as the content of an npz file."""
    out = io.BytesIO()
    texts = {_SPEC: np.array(json.dumps({**snapshot.network.as_json(), "batch": snapshot.batch}))}
    if snapshot.data_digest is not None:
        texts[_DIGEST] = np.array(snapshot.data_digest)
    np.savez(out, allow_pickle=False, **texts, **snapshot.parameters)
    return out.getvalue()


def load_snapshot(path: Path, free_bytes: int | None = None) -> Snapshot:
    """The snapshot in a file. Raises ``DataError`` for a file that is not one, or whose parts disagree.

    Parameters that need more than ``free_bytes`` are not read.
    """
    try:
        with open_regular(path) as file:
            arrays = Npz(file)
            values = json.loads(_text(arrays, _SPEC))
            batch = values.pop("batch")
            network = read_network(values)
            leaves = network.build(batch).parameters
            needed = sum(node.nbytes for node in leaves)
            if free_bytes is not None and needed > free_bytes:
                raise ValueError(
                    f"its parameters take {format_bytes(needed)}, and {format_bytes(free_bytes)} are free"
                )
            parameters = {node.name: _parameter(arrays, node) for node in leaves}
            digest = _text(arrays, _DIGEST) if _DIGEST in arrays else None
    except (Exception, MemoryError) as error:  # a hostile file can make numpy raise any error
        raise DataError(
            f"model {path} cannot be read ({reason(error)})",
            "name a file that `memtrain train --save` wrote",
        ) from error
    return Snapshot(network, batch, parameters, digest)


def _text(arrays: Npz, name: str) -> str:
    """The text of a member."""
    member = arrays.open(name)
    if member.dtype.kind != "U" or member.shape or member.nbytes > _LONGEST_TEXT_BYTES:
        raise ValueError(f"{name} is not a text")
    return str(member.array())


def _parameter(arrays: Npz, node: Node) -> Array:
    """The values of a parameter. Their size is checked before they are read."""
    member = arrays.open(node.name)
    if member.shape != node.shape or member.dtype != node.dtype:
        raise ValueError(
            f"{node.name} has the shape {list(member.shape)} and the type {member.dtype}, not {node}"
        )
    values = member.array()
    if not np.isfinite(values).all():
        raise ValueError(f"{node.name} is not finite")
    return values
