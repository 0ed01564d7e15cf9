"""Every op, one file per family of rules; importing this package fills the registry ``OPS``."""

from importlib import import_module
from pkgutil import iter_modules

from memtrain.graph.ops.base import OPS, Op

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

ACTIVATIONS: dict[str, type[Op]] = {name: op for name, op in OPS.items() if op.is_activation}
"""The activations: ops that a layer can apply between its products, by name."""

__all__ = ["ACTIVATIONS", "OPS", "Op"]
