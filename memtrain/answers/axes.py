"""The two axes of a frontier: the columns of a cell that are given as ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memtrain.cells.cell import Cell
from memtrain.cells.columns import BY_NAME
from memtrain.cells.usual import FRONTIER_AXES, FRONTIER_DEPTHS
from memtrain.errors import SpecError
from memtrain.models.families import family_of
from memtrain.sweeps.ranges import parse_integers
from memtrain.training.sources import SYNTHETIC

Names = tuple[str, str]
DEPTH_BATCH: Names = ("depth", "batch")


@dataclass(frozen=True)
class Axes:
    """The names of the first and second axis with their values, and the values of the other columns."""

    names: Names
    firsts: tuple[int, ...]
    seconds: tuple[int, ...] | None
    """``None`` for batches that nobody gave. Then the answer chooses them."""
    fixed: dict[str, Any]

    def cell(self, make: Callable[..., Cell]) -> Cell:
        """A cell of the frontier. ``make`` makes a cell from columns that are given by name.

        It is the cell of the least first and the largest second value: an image must be large enough for
        the depth. Raises ``InputError``.
        """
        seconds = {} if self.seconds is None else {self.names[1]: max(self.seconds)}
        return make(**{**self.fixed, self.names[0]: min(self.firsts), **seconds})


def axes_of(given: Mapping[str, Any], label: Callable[[str], str] = str) -> Axes:
    """The axes that the ``given`` columns ask for.

    A value may be a number, a list, or a text such as ``1:16:x2``. A column with several values is an axis.
    If there are fewer than two, batch and depth complete them. ``label`` gives the name of a column in a
    message. Raises ``InputError``.
    """
    values = {
        name: _integers(given[name], name, label) for name in FRONTIER_AXES if given.get(name) is not None
    }
    several = [name for name in values if len(values[name]) > 1]
    if len(several) > 2:
        listed = f"{', '.join(map(label, several[:-1]))} and {label(several[-1])}"
        raise SpecError(
            f"{listed} have several values each, and a frontier has two axes",
            f"give one value for {label(several[-1])}, for instance",
        )
    usual = [name for name in ("batch", "depth") if name not in several]
    chosen = [*several, *usual][:2]
    first, second = (name for name in FRONTIER_AXES if name in chosen)
    fixed: dict[str, Any] = {name: found[0] for name, found in values.items() if name not in chosen}
    if "sequence" in chosen:
        if given.get("data") not in (None, SYNTHETIC):
            raise SpecError(
                f"{label('sequence')} has several values, and a text has no sequences of every length",
                f"drop {label('data')}, or give one value for {label('sequence')}",
            )
        fixed["data"] = SYNTHETIC
    seconds = values.get(second)
    return Axes(
        (first, second),
        tuple(values.get(first) or _usual_depths(given)),
        None if seconds is None else tuple(seconds),
        fixed,
    )


def _usual_depths(given: Mapping[str, Any]) -> Sequence[int]:
    """The depths of a frontier for which none are given."""
    usual = BY_NAME["model"].default
    name = given.get("model") or usual
    return parse_integers(FRONTIER_DEPTHS, "depth") if name == usual else family_of(name).usual_axes["depth"]


def _integers(given: Any, name: str, label: Callable[[str], str]) -> list[int]:
    """Whole numbers, each once, from a range as text, a number, or a list."""
    text = given if isinstance(given, (str, int)) else ",".join(map(str, given))
    return parse_integers(str(text), label(name), least=BY_NAME[name].least)
