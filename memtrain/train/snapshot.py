"""Weights on disk: an npz of plain arrays and the network they belong to. Nothing in it is executed."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from memtrain.errors import DataError, MemtrainError
from memtrain.graph.node import Role
from memtrain.graph.ops.base import Array
from memtrain.models.mlp import MLP, build
from memtrain.plan.schedule import leaf_role

_SPEC = "network"
"""The member that says, as JSON, what network the others are the parameters of."""


@dataclass(frozen=True)
class Snapshot:
    """A trained network."""

    spec: MLP
    parameters: Mapping[str, Array]


def snapshot_bytes(snapshot: Snapshot) -> bytes:
    """The snapshot as the content of an npz file."""
    out = io.BytesIO()
    spec = np.array(json.dumps(asdict(snapshot.spec)))
    np.savez(out, allow_pickle=False, **{_SPEC: spec}, **snapshot.parameters)
    return out.getvalue()


def load_snapshot(path: Path) -> Snapshot:
    """The network in a file. Raises ``DataError`` for what is none, or does not fit together."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            values = json.loads(str(arrays[_SPEC]))
            spec = MLP(**{**values, "hidden": tuple(values["hidden"])})
            leaves = [node for node in build(spec).builder.nodes if leaf_role(node) is Role.PARAMETER]
            parameters = {node.name: arrays[node.name] for node in leaves}
    except (Exception, MemoryError) as error:  # whatever a hostile file makes its reader stumble over
        if isinstance(error, MemtrainError) and not isinstance(error, DataError):
            raise _unreadable(path, str(error)) from error
        raise _unreadable(path, str(error).partition("\n")[0] or type(error).__name__) from error
    for node in leaves:
        found = parameters[node.name]
        if found.shape != node.shape or found.dtype != node.dtype:
            raise _unreadable(path, f"{node} does not fit {list(found.shape)} {found.dtype}")
        if not np.isfinite(found).all():
            raise _unreadable(path, f"{node.name} is not finite")
    return Snapshot(spec, parameters)


def _unreadable(path: Path, why: str) -> DataError:
    return DataError(
        f"model {path} cannot be read ({why})",
        "allowed: a file that memtrain train --save wrote",
        "check the path, or train again",
    )
