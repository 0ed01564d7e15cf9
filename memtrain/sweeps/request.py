"""The request of a sweep, with which the sweep can be repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from memtrain.cells.cell import BOTH, Cell, Mode
from memtrain.cells.engine import JAX, NO_HISTORY
from memtrain.errors import SpecError, StoreError, unknown_choice
from memtrain.measure.meters import METERS
from memtrain.sweeps.grid import make_grid
from memtrain.sweeps.runner import Task

MODES: dict[str, tuple[Mode, ...]] = {"both": BOTH, **{mode: (mode,) for mode in Mode}, "all": tuple(Mode)}
MOST_REPEATS = 1000


@dataclass(frozen=True)
class Request:
    """The axes of a grid, the modes, the meters, and the number of repetitions. Raises ``SpecError``."""

    axes: Mapping[str, Any]
    layers: Sequence[int] | None = None
    mode: str = "both"
    meters: Sequence[str] = tuple(METERS)
    repeat: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.mode, str) or self.mode not in MODES:
            raise unknown_choice("mode", self.mode, MODES)
        for meter in self.meters:
            if not isinstance(meter, str) or meter not in METERS:
                raise unknown_choice("meter", meter, METERS)
        if type(self.repeat) is not int or not 1 <= self.repeat <= MOST_REPEATS:
            raise SpecError(
                f"--repeat {self.repeat} cannot be used", f"give a whole number from 1 to {MOST_REPEATS:,}"
            )
        # in the order of METERS, and always with the ledger
        in_order = tuple(meter for meter in METERS if meter in self.meters or meter == "ledger")
        object.__setattr__(self, "meters", in_order)

    def cells(self) -> list[Cell]:
        """The cells of the grid. Raises ``InputError`` for invalid axes."""
        return make_grid(self.axes, self.layers)

    def as_json(self) -> dict[str, Any]:
        """The request as JSON values, which `read_request` reads."""
        return asdict(self)


def make_tasks(cells: Sequence[Cell], mode: str) -> list[Task]:
    """The tasks of a sweep: each cell in each mode that ``mode`` includes.

    JAX has no inference with gradients on. Raises ``SpecError`` if no task is left.
    """
    pairs = [(cell, one) for cell in cells for one in MODES[mode]]
    tasks = [(cell, one) for cell, one in pairs if not (cell.engine == JAX and one is Mode.EVAL_GRAD)]
    if not tasks:
        raise SpecError(*NO_HISTORY)
    return tasks


def read_request(values: Any) -> Request:
    """The request of its JSON values. Raises ``StoreError`` for invalid values."""
    names = {field.name for field in fields(Request)}
    if (
        not isinstance(values, dict)
        or set(values) != names
        or not isinstance(values["axes"], dict)
        or not isinstance(values["meters"], list)
    ):
        raise StoreError("the journal does not record what the sweep was to measure; begin a new file")
    return Request(**values)
