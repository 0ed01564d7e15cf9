"""Ranges as text: ``2,4,8`` · ``1:1024:x2`` (geometric) · ``1:16:+3`` (arithmetic) · ``8``."""

from __future__ import annotations

import re
from math import isfinite
from typing import Any

from memtrain.cells.columns import Column
from memtrain.cells.kinds import BYTES, COUNT, NUMBER, TRUTH, WIDTHS
from memtrain.errors import RangeError, shown
from memtrain.units import parse_bytes

_EXAMPLES = "a number (8), a list (2,4,8) or a range (1:1024:x2 doubles, 1:16:+3 adds 3)"
_LIST = "one value, or several separated by commas"
_LARGEST = 2**63 - 1
MOST_VALUES = 10_000
"""The most values of a range. More are almost surely a mistake."""


def parse_values(column: Column, text: str, option: str) -> list[Any]:
    """The values of a range or of a comma-separated list, as values of ``column``. Raises ``InputError``."""
    if column.kind in (COUNT, WIDTHS):
        return parse_integers(text, option, least=column.least)
    if column.kind is NUMBER:
        return parse_numbers(text, option)
    words = parse_words(text, option)
    if column.kind is BYTES:
        return [parse_bytes(word, option) for word in words]
    return [_truth(word, option) for word in words] if column.kind is TRUTH else words


def parse_sizes(text: str, option: str) -> list[int]:
    """The whole numbers ≥ 1 of a comma-separated list, with repetitions. Raises ``RangeError``."""
    sizes = [_integer(part, text, option, _size_remedy(text)) for part in _parts(text, option)]
    _check_least(sizes, 1, text, option)
    return sizes


def parse_integers(text: str, option: str, least: int = 1) -> list[int]:
    """The whole numbers ≥ ``least`` of a range, without repetitions, in order. Raises ``RangeError``."""
    values: list[int] = []
    for part in _parts(text, option, _EXAMPLES):
        values += _progression(part, option) if ":" in part else [_integer(part, text, option, _remedy(text))]
    _check_least(values, least, text, option)
    return list(dict.fromkeys(values))


def parse_numbers(text: str, option: str) -> list[float]:
    """The numbers ≥ 0 of a comma-separated list. Raises ``RangeError``."""
    values = []
    for part in _parts(text, option):
        try:
            value = float(part)
        except ValueError:
            value = float("nan")
        if not (isfinite(value) and value >= 0):
            raise RangeError(
                f"{_given(option, part, text)} is not a finite number ≥ 0",
                "write 0.001, or a list such as 0,1e-4,1e-2",
            )
        values.append(value)
    return list(dict.fromkeys(values))


def parse_words(text: str, option: str) -> list[str]:
    """The words of a comma-separated list, without repetitions. Raises ``RangeError`` if there is none."""
    return list(dict.fromkeys(_parts(text, option)))


def parse_cells(text: str, option: str) -> list[tuple[int, int]]:
    """The pairs (depth, batch) of a list such as ``8x256,16x1024``, each once. Raises ``RangeError``."""
    remedy = "write depth × batch, such as 8x256"
    sizes = []
    for part in _parts(text, option, "cells such as 8x256, separated by commas"):
        depth, times, batch = part.lower().replace("×", "x").partition("x")
        if not times:
            raise RangeError(f"{option} {shown(part)} is not a cell", remedy)
        sizes.append((_integer(depth, text, option, remedy), _integer(batch, text, option, remedy)))
    return list(dict.fromkeys(sizes))


def _truth(text: str, option: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise RangeError(f"{option} {shown(text)} is not a truth value", "write true or false")
    return text.lower() == "true"


def _check_least(values: list[int], least: int, text: str, option: str) -> None:
    if min(values) < least:
        given = _given(option, str(min(values)), text)
        raise RangeError(f"{given} is too small", f"give whole numbers ≥ {least}")


def _given(option: str, part: str, text: str) -> str:
    """The option and its text as a message quotes them, and the wrong ``part`` if the text has others."""
    whole = f"{option} {shown(text)}"
    return whole if part.strip() == text.strip() else f"{whole}: {shown(part)}"


def _parts(text: str, option: str, allowed: str = _LIST) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    there = [part for part in parts if part]
    if not there:
        raise RangeError(f"{option} is empty", f"give {allowed}")
    if there != parts:
        rest = ",".join(there)
        remedy = f"write {rest}" if rest == shown(rest)[1:-1] else "remove the extra comma"
        raise RangeError(f"{option} {shown(text)} has an empty part", remedy)
    return parts


def _progression(text: str, option: str) -> list[int]:
    fields = text.split(":")
    if len(fields) != 3 or fields[2][:1] not in ("x", "+"):
        raise _no_range(text, option)
    start, stop, by = (
        _integer(field, text, option, f"write {_EXAMPLES}") for field in (fields[0], fields[1], fields[2][1:])
    )
    geometric = fields[2][0] == "x"
    if start > stop:
        raise RangeError(f"{option} {shown(text)} runs backwards", f"write {stop}:{start}:{fields[2]}")
    if by < (2 if geometric else 1) or (geometric and start < 1):
        wanted = "start at 1 or more, and use x2 or more" if geometric else "use +1 or more"
        raise RangeError(f"{option} {shown(text)} never ends", wanted)
    if not geometric and (stop - start) // by >= MOST_VALUES:
        count = (stop - start) // by + 1
        raise RangeError(
            f"{option} {shown(text)} has {count:,} values", f"give at most {MOST_VALUES:,}, in larger steps"
        )
    values = [start]
    while (following := values[-1] * by if geometric else values[-1] + by) <= stop:
        values.append(following)
    return values


def _no_range(text: str, option: str) -> RangeError:
    """The error for a range without a valid step."""
    given = f"{option} {shown(text)}"
    if found := re.fullmatch(r"\s*(\d{1,18}):(\d{1,18})(?::(\d{1,18})?)?\s*", text, re.ASCII):
        mistake = f"{given} has a step without x or +" if found[3] else f"{given} is a range without a step"
        return RangeError(mistake, _write_range(int(found[1]), int(found[2]), int(found[3] or 1)))
    return RangeError(f"{given} is not a range", f"write {_EXAMPLES}")


def _write_range(one: int, other: int, step: int) -> str:
    """The remedy that names the ranges which two numbers can mean."""
    start, stop = sorted((one, other))
    times, more = max(2, step), max(1, step)
    multiplied = f"{start}:{stop}:x{times} (each {times} times the one before) or " if start else ""
    return f"write {multiplied}{start}:{stop}:+{more} (each {more} more)"


def _remedy(text: str) -> str:
    """The remedy for values that are not whole numbers: what to write instead."""
    if found := re.fullmatch(r"\s*(\d{1,18})\s*(?:\.\.\.?|-|–|…|to)\s*(\d{1,18})\s*", text, re.ASCII):
        return _write_range(int(found[1]), int(found[2]), 1)
    if re.fullmatch(r"\s*\d+(\s*[;/ ]\s*\d+)+\s*", text, re.ASCII):
        return f"write {_commas(text)}"
    return f"write {_EXAMPLES}"


def _size_remedy(text: str) -> str:
    """The remedy for sizes that are not whole numbers: ``784-512-10`` means ``784,512,10``."""
    if re.fullmatch(r"\s*\d+(\s*\D\s*\d+)+\s*", text, re.ASCII):
        return f"write {_commas(text)}"
    return "write whole numbers separated by commas"


def _commas(text: str) -> str:
    """The whole numbers in ``text``, separated by commas."""
    return ",".join(re.findall("[0-9]+", text))


def _integer(field: str, text: str, option: str, remedy: str) -> int:
    digits = field.strip()
    if not digits.removeprefix("-").isdecimal() or not digits.isascii():
        raise RangeError(f"{_given(option, field, text)} is not a whole number", remedy)
    if len(digits) > 20 or abs(int(digits)) > _LARGEST:
        raise RangeError(f"{_given(option, field, text)} is too large", f"give at most {_LARGEST:,}")
    return int(digits)
