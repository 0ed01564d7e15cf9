"""What PyTorch's autograd saves, function by function, and what memtrain keeps in the same layers.

The list is autograd's own: an entry for each tensor that a function saves. Several entries may have the same
storage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memtrain.engines.history import Saved
from memtrain.explaining.by_layer import LayerBytes
from memtrain.graph.node import Graph, Node, Scope

_WHY = {
    "MaxPool2DWithIndicesBackward0": "a max-pool saves its input, and an index of 8 bytes for each window",
    "AvgPool2DBackward0": "an average pool saves its input, for its shape",
    "NllLossBackward0": "the loss saves the count of labels",
    "MaskedFillBackward0": "the causal mask is saved, which memtrain does not need",
    "MulBackward0": "a product saves its factors: the mask of a dropout as numbers, x · r of an RMS norm",
    "LeakyReluBackward0": "leaky ReLU saves its input, where memtrain reads the output",
    "EluBackward0": "ELU saves its input, where memtrain reads the output",
    "SoftplusBackward0": "softplus saves its input, where memtrain reads the output",
}
"""By function of autograd: why it may save more than memtrain's rule keeps."""


@dataclass(frozen=True)
class SavedValue:
    """A tensor that a function of autograd saves. ``function`` and ``variable`` are PyTorch's names."""

    function: str
    variable: str
    name: str
    label: str
    scope: Scope
    shape: tuple[int, ...]
    bytes: int
    role: str
    """What it is: a parameter, an input, or kept, which means an intermediate."""
    again: bool
    """Whether an earlier entry has the same storage."""


@dataclass(frozen=True)
class LayerPair:
    """The bytes that PyTorch and memtrain keep for the gradients of a layer."""

    name: str
    label: str
    scope: Scope
    torch_bytes: int
    numpy_bytes: int
    why: str
    """Why PyTorch keeps more, as far as it is known; otherwise empty."""


def saved_values(graph: Graph, saved: Sequence[Saved]) -> list[SavedValue]:
    """The entries of autograd's list, in the order in which forward saves them."""
    known: set[int] = set()
    found = []
    for entry in saved:
        node = graph[entry.node]
        found.append(_value(entry, node, node.storage in known))
        known.add(node.storage)
    return found


def _value(entry: Saved, node: Node, again: bool) -> SavedValue:
    return SavedValue(
        entry.function,
        entry.variable,
        node.name,
        node.label,
        entry.scope,
        tuple(map(int, node.shape)),
        node.nbytes,
        str(node.role) if node.role else "kept",
        again,
    )


def layers_beside(
    theirs: Sequence[LayerBytes], ours: Sequence[LayerBytes], saved: Sequence[SavedValue]
) -> list[LayerPair]:
    """PyTorch's bytes of each layer beside memtrain's, with the reasons for differences."""
    functions: dict[str, list[str]] = {}
    for value in saved:
        functions.setdefault(" ".join(map(str, value.scope)) or "other", []).append(value.function)
    kept = {entry.name: entry.bytes for entry in ours}
    bytes_of = {entry.name: entry.bytes for entry in theirs}
    pairs = []
    for layer in {entry.name: entry for entry in (*ours, *theirs)}.values():
        torch_bytes, numpy_bytes = bytes_of.get(layer.name, 0), kept.get(layer.name, 0)
        reasons = dict.fromkeys(_WHY[each] for each in functions.get(layer.name, ()) if each in _WHY)
        why = "; ".join(reasons) if torch_bytes > numpy_bytes else ""
        pairs.append(LayerPair(layer.name, layer.label, layer.scope, torch_bytes, numpy_bytes, why))
    return pairs
