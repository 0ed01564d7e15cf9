"""Ranges as text: ``2,4,8`` · ``1:1024:x2`` (geometric) · ``1:16:+3`` (arithmetic) · ``8``."""

from __future__ import annotations

from math import isfinite

from memtrain.errors import RangeError

_ALLOWED = "allowed: 8, 2,4,8, 1:1024:x2 (each twice the last) or 1:16:+3 (each 3 more)"
_LIST = "allowed: one value, or several separated by commas"
_LARGEST = 2**63 - 1
MOST_VALUES = 10_000
"""More values than anyone means."""


def parse_sizes(text: str, option: str) -> list[int]:
    """The whole numbers ≥ 1 of a comma list, in order, with repetitions. Raises ``RangeError``."""
    sizes = [_integer(part, text, option, _LIST) for part in _parts(text, option)]
    _check_least(sizes, 1, text, option)
    return sizes


def parse_integers(text: str, option: str, least: int = 1) -> list[int]:
    """The whole numbers of a range, each once, in the order given. Raises ``RangeError``."""
    values: list[int] = []
    for part in _parts(text, option, _ALLOWED):
        values += _progression(part, option) if ":" in part else [_integer(part, text, option)]
    _check_least(values, least, text, option)
    return list(dict.fromkeys(values))


def parse_numbers(text: str, option: str) -> list[float]:
    """The numbers ≥ 0 of a comma list. Raises ``RangeError``."""
    values = []
    for part in _parts(text, option):
        try:
            value = float(part)
        except ValueError:
            value = float("nan")
        if not (isfinite(value) and value >= 0):
            raise RangeError(
                f"{option} {text!r}: {part!r} is not a finite number ≥ 0",
                "allowed: 0.001 or 0,1e-4,1e-2",
                "correct it",
            )
        values.append(value)
    return list(dict.fromkeys(values))


def parse_words(text: str, option: str) -> list[str]:
    """The words of a comma list, each once. Raises ``RangeError`` when there is none."""
    return list(dict.fromkeys(_parts(text, option)))


def parse_cells(text: str, option: str) -> list[tuple[int, int]]:
    """The depths and batches of a comma list such as ``8x256,16x1024``, each once. Raises ``RangeError``."""
    allowed = "allowed: DEPTHxBATCH, as 8x256, or several separated by commas"
    sizes = []
    for part in _parts(text, option, allowed):
        depth, times, batch = part.lower().replace("×", "x").partition("x")
        if not times:
            raise RangeError(f"{option} {text!r}: {part!r} is not a cell", allowed, "write 8x256, say")
        sizes.append((_integer(depth, text, option, allowed), _integer(batch, text, option, allowed)))
    return list(dict.fromkeys(sizes))


def _check_least(values: list[int], least: int, text: str, option: str) -> None:
    if min(values) < least:
        raise RangeError(
            f"{option} {text!r} has the value {min(values)}",
            f"allowed: whole numbers ≥ {least}",
            f"give {least} or more",
        )


def _parts(text: str, option: str, allowed: str = _LIST) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise RangeError(f"{option} {text!r} is empty or has an empty part", allowed, "fill or remove it")
    return parts


def _progression(text: str, option: str) -> list[int]:
    fields = text.split(":")
    if len(fields) != 3 or fields[2][:1] not in ("x", "+"):
        raise RangeError(
            f"{option} {text!r} is not a range", _ALLOWED, "write start:stop:x2 or start:stop:+1"
        )
    start, stop, by = (_integer(field, text, option) for field in (fields[0], fields[1], fields[2][1:]))
    geometric = fields[2][0] == "x"
    if start > stop:
        raise RangeError(f"{option} {text!r} runs backwards", _ALLOWED, f"write {stop}:{start}:{fields[2]}")
    if by < (2 if geometric else 1) or (geometric and start < 1):
        raise RangeError(
            f"{option} {text!r} never ends", "allowed: start ≥ 1 and x2 or more, or +1 or more", "correct it"
        )
    if not geometric and (stop - start) // by >= MOST_VALUES:
        raise RangeError(
            f"{option} {text!r} has {(stop - start) // by + 1:,} values",
            f"allowed: at most {MOST_VALUES:,}",
            "take larger steps",
        )
    values = [start]
    while (following := values[-1] * by if geometric else values[-1] + by) <= stop:
        values.append(following)
    return values


def _integer(field: str, text: str, option: str, allowed: str = _ALLOWED) -> int:
    digits = field.strip()
    if not digits.removeprefix("-").isdecimal() or not digits.isascii():
        raise RangeError(f"{option} {text!r}: {field!r} is not a whole number", allowed, "correct it")
    if len(digits) > 20 or abs(int(digits)) > _LARGEST:
        shown = field if len(field) < 32 else f"{field[:28]}…"
        raise RangeError(
            f"{option} {shown!r} is too large", f"allowed: at most {_LARGEST:,}", "give a smaller number"
        )
    return int(digits)
