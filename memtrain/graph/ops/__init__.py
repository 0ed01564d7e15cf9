"""Every op, one file per family of rules; importing this package fills the registry ``OPS``."""

from memtrain.graph.ops import activation, arithmetic, gelu, loss, matmul, source, update, view
from memtrain.graph.ops.base import OPS, Op

__all__ = ["OPS", "Op", "activation", "arithmetic", "gelu", "loss", "matmul", "source", "update", "view"]
