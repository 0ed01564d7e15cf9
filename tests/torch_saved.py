"""What PyTorch saves for backward: the storages, besides those of parameters and of what is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import pytest

torch = pytest.importorskip("torch")


def saved_bytes(forward: Callable[[], object], given: Iterable[torch.Tensor]) -> int:
    """The bytes that ``forward`` saves. Each storage counts once, and those of ``given`` do not count."""
    kept: list[torch.Tensor] = []  # kept, so that no freed storage is allocated again

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward()
    sizes = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    own = {t.untyped_storage().data_ptr() for t in given}
    del result
    return sum(size for place, size in sizes.items() if place not in own)


def saved_names(root: torch.Tensor) -> Counter[tuple[str, str]]:
    """How often autograd saves each variable of each function below ``root``. Numbers do not count."""
    found: Counter[tuple[str, str]] = Counter()
    seen, waiting = set(), [root.grad_fn]
    while waiting:
        function = waiting.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        waiting += [each for each, _ in function.next_functions]
        for attribute in dir(function):
            value = getattr(function, attribute) if attribute.startswith("_saved_") else None
            number = attribute == "_saved_other" and isinstance(value, torch.Tensor) and not value.dim()
            if isinstance(value, torch.Tensor) and not number:
                found[function.name(), attribute.removeprefix("_saved_")] += 1
    return found
