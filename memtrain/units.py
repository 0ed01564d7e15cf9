"""Bytes, seconds and other numbers as text for people, and text as bytes. Other modules use plain numbers."""

from __future__ import annotations

import re
from fractions import Fraction

from memtrain.errors import RangeError, shown

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


_MULTIPLES = {
    "": 1,
    "B": 1,
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", start=1)},
}
_LARGEST_BYTES = 2**63 - 1


def parse_bytes(text: str, option: str) -> int:
    """The bytes of a text: ``64MiB`` is 64·1024², ``64MB`` is 64·1000², and a number without unit is bytes.

    Raises ``RangeError`` that names ``option``.
    """
    given = f"{option} {shown(text)}"
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text, re.ASCII)
    if not match:
        raise RangeError(f"{given} is not a number of bytes", "write 64MiB, 64MB or 67108864, for instance")
    number, unit = match.groups()
    multiples = {name.lower(): multiple for name, multiple in _MULTIPLES.items()}
    if unit.lower() not in multiples:
        raise _unknown_unit(given, number[:20], unit[:20])
    count = Fraction(number) * multiples[unit.lower()]
    if count > _LARGEST_BYTES:
        raise RangeError(f"{given} is too large", f"give less than 8 EiB ({_LARGEST_BYTES + 1} bytes)")
    if count.denominator != 1:
        raise RangeError(f"{given} is not a whole number of bytes", f"write {max(1, round(count))}")
    if count < 1:
        raise RangeError(f"{given} is no memory at all", "give at least 1 byte, for instance 64MiB")
    return int(count)


def _unknown_unit(given: str, number: str, unit: str) -> RangeError:
    """The error for an unknown unit. For ``64M`` it names both 64MiB and 64MB."""
    letter = unit[0].upper()
    if letter in "KMGT":
        power = dict(zip("KMGT", ("", "²", "³", "⁴"), strict=True))[letter]
        units = f"write {number}{letter}iB or {number}{letter}B (units of 1024{power} or 1000{power} bytes)"
    else:
        units = "use B, KiB, MiB, GiB, TiB (units of 1024) or KB, MB, GB, TB (units of 1000)"
    return RangeError(f"{given} has the unknown unit {unit}", units)


def parse_percent(text: str, option: str) -> Fraction:
    """The share of a text in percent, without rounding: ``5%`` is 5/100. Raises ``RangeError``."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*%\s*", text, re.ASCII)
    if not match:
        number = text.strip()
        written = f"{number}%" if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", number, re.ASCII) else "5% or 0.5%"
        raise RangeError(f"{option} {shown(text)} is not a percentage", f"write {written}")
    return Fraction(match[1]) / 100


def binary_unit(count: float) -> tuple[int, str]:
    """The size and the name of the binary unit in which ``count`` bytes are a short number."""
    power = 0
    while power < len(_UNITS) - 1 and abs(count) / 1024**power >= 999.5:
        power += 1
    return 1024**power, _UNITS[power]


def format_bytes(count: float | None) -> str:
    """The text of bytes in the binary unit that keeps the number short: ``21.3 MiB``. Missing is empty.

    Below 100 units, a number without a decimal is exact: ``16 KiB``, but ``16.0 KiB`` is rounded. From 100
    units on, numbers are rounded to whole units.
    """
    if count is None:
        return ""
    divisor, unit = binary_unit(count)
    whole = count % divisor == 0 or abs(count / divisor) >= 99.95 or divisor == 1
    digits = 0 if whole else 1
    return f"{_rounded(count / divisor, digits):.{digits}f} {unit}"


def format_exact_bytes(count: int) -> str:
    """The text of bytes in the largest binary unit of which they are a multiple; `parse_bytes` reads it."""
    power = 0
    while power < 4 and count and count % 1024 ** (power + 1) == 0:
        power += 1
    return f"{count // 1024**power}{_UNITS[power] if power else ''}"


def format_count(value: float) -> str:
    """The text of a number with thousands separators: ``1,024``. It has a decimal only below 100: ``0.5``."""
    rounded = shown_count(value)
    return f"{rounded:,.0f}" if rounded == int(rounded) else f"{rounded:,.1f}"


def shown_count(value: float) -> float:
    """The number that `format_count` writes for ``value``."""
    return float(_rounded(value, 1 if abs(value) < 100 else 0))


def format_percent(share: float, digits: int = 0) -> str:
    """The text of a share in percent: ``70 %``."""
    return f"{_rounded(100 * share, digits):.{digits}f} %"


def format_flops(count: float) -> str:
    """The text of FLOPs in the decimal unit that keeps the number short: ``6.7 MFLOP``."""
    power = 0
    prefixes = ("", "k", "M", "G", "T", "P", "E", "Z")
    while power < len(prefixes) - 1 and abs(count) / 1000**power >= 999.5:
        power += 1
    return f"{count / 1000**power:.{1 if power else 0}f} {prefixes[power]}FLOP"


def format_seconds(seconds: float | None) -> str:
    """The text of seconds in the unit that keeps the number short: ``12.3 ms``. Missing is empty."""
    if seconds is None:
        return ""
    for factor, unit in ((1e-6, "µs"), (1e-3, "ms")):
        if seconds < 999.5 * factor:
            value = seconds / factor
            return f"{value:.{1 if value < 99.95 else 0}f} {unit}"
    return f"{seconds:.1f} s"


def format_difference(part: float | None, whole: float | None) -> str:
    """The percentage by which ``part`` is above ``whole``, with its sign: ``+0.02``. Missing is empty."""
    if part is None or not whole:
        return ""
    percent = 100 * (part - whole) / whole
    digits = 2 if abs(percent) < 9.995 else 1
    return f"{_rounded(percent, digits):+.{digits}f}"


def _rounded(value: float, digits: int) -> float:
    """``value`` rounded. A result of zero has no minus sign."""
    return round(value, digits) + 0.0
