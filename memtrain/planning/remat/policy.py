"""A policy: which forward values to keep and which to recompute, and its text form."""

from __future__ import annotations

from dataclasses import dataclass

from memtrain.errors import SpecError, shown, unknown_choice
from memtrain.units import format_exact_bytes, parse_bytes

NONE, SQRT, REVOLVE, BUDGET = "none", "sqrt", "revolve", "budget"
_EXAMPLES = {NONE: "none", SQRT: "sqrt", REVOLVE: "revolve:4", BUDGET: "budget:32MiB"}


@dataclass(frozen=True)
class Policy:
    """``none`` keeps all values that backward reads; other policies keep fewer and recompute the rest."""

    kind: str = NONE
    number: int = 0
    """The number of checkpoints of ``revolve``, or the bytes of ``budget``."""

    def __str__(self) -> str:
        if self.kind == BUDGET:
            return f"{BUDGET}:{format_exact_bytes(self.number)}"
        return f"{REVOLVE}:{self.number}" if self.kind == REVOLVE else self.kind


KEEP_ALL = Policy()


def read_policy(text: str) -> Policy:
    """The policy of a text: ``none``, ``sqrt``, ``revolve:4`` or ``budget:32MiB``. Raises ``InputError``."""
    kind, colon, number = text.partition(":")
    if kind not in _EXAMPLES:
        raise unknown_choice("policy", text, _EXAMPLES.values())
    if colon and kind in (NONE, SQRT):
        raise SpecError(f"policy {shown(text)} has a number, and {kind} takes none", f"write {kind}")
    if kind == BUDGET:
        if not number:
            raise SpecError(f"policy {text} lacks its bytes", f"write {_EXAMPLES[kind]}, for instance")
        return Policy(BUDGET, parse_bytes(number, f"policy {BUDGET}:"))
    if kind == REVOLVE:
        if not number:
            raise SpecError(
                f"policy {text} lacks its number of checkpoints", f"write {_EXAMPLES[kind]}, for instance"
            )
        if not (number.isascii() and number.isdecimal() and int(number[:10]) >= 1 and len(number) < 8):
            raise SpecError(
                f"policy {shown(text)} cannot be used",
                "give from 1 to 9,999,999 checkpoints, as in revolve:4",
            )
        return Policy(REVOLVE, int(number))
    return Policy(kind)
