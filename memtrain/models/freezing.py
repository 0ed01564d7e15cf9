"""The parameters that a user freezes: those of some blocks, or single ones by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from memtrain.errors import SpecError
from memtrain.graph.node import Node
from memtrain.models.network import NOTHING

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def frozen_ids(parameters: Sequence[Node], text: str) -> frozenset[int]:
    """Ids of the parameters that ``text`` freezes.

    The text has one or more items, joined by "+": the number of a block (a layer of an MLP), a range of
    numbers, the name of a block, or the name of a parameter: "1-4", "2+5", "stem", "E". Raises ``SpecError``
    for an item without parameters, and if nothing would be trained.
    """
    if text == NOTHING:
        return frozenset()
    found: set[int] = set()
    for item in text.split("+"):
        own = {node.id for node in parameters if _matches(node, item.strip())}
        if not own:
            raise SpecError(
                f"freeze {text}: there is no {item.strip() or 'empty name'}",
                f"the network has {', '.join(dict.fromkeys(map(_place, parameters)))}",
            )
        found |= own
    if len(found) == len(parameters):
        raise SpecError(f"freeze {text} leaves nothing to train", "freeze fewer blocks")
    return frozenset(found)


def _matches(node: Node, item: str) -> bool:
    """Whether ``item`` names this parameter or its outermost block."""
    outer = node.scope[0] if node.scope else None
    numbers = _RANGE.fullmatch(item)
    if numbers is None:
        return item in (node.name, str(outer))
    first, last = int(numbers[1]), int(numbers[2] or numbers[1])
    return outer is not None and outer.number is not None and first <= outer.number <= last


def _place(node: Node) -> str:
    """The outermost block of a parameter; outside of all blocks, its name."""
    return str(node.scope[0]) if node.scope else node.name
