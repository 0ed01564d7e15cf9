"""Bytes and seconds as text for people, and back. All other modules use integer bytes and seconds."""

from __future__ import annotations

import re
from fractions import Fraction

from memtrain.errors import RangeError

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


_MULTIPLES = {
    "": 1,
    "B": 1,
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", start=1)},
}
_LARGEST_BYTES = 2**63 - 1


def parse_bytes(text: str, option: str) -> int:
    """``64MiB`` is 64·1024², ``64MB`` is 64·1000², a bare number is bytes. Raises ``RangeError``."""
    allowed = "allowed: bytes, or a number with KiB, MiB, GiB, TiB (1024) or KB, MB, GB, TB (1000)"
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text, re.ASCII)
    if not match:
        raise RangeError(f"{option} {text[:40]!r} is not a number of bytes", allowed, "write 64MiB, say")
    number, unit = match.groups()
    multiples = {name.lower(): multiple for name, multiple in _MULTIPLES.items()}
    if unit.lower() not in multiples:
        letter = unit[:1].upper()
        both = (
            f"write {number}{letter}iB or {number}{letter}B"
            if letter in tuple("KMGT")
            else "write 64MiB, say"
        )
        raise RangeError(f"{option} {text!r} has the unit {unit!r}", allowed, both)
    count = Fraction(number) * multiples[unit.lower()]
    if count > _LARGEST_BYTES:
        raise RangeError(f"{option} {text[:40]!r} is too large", allowed, "give less")
    if count.denominator != 1:
        raise RangeError(f"{option} {text!r} is no whole number of bytes", allowed, "round it")
    if count < 1:
        raise RangeError(f"{option} {text!r} is no memory at all", "allowed: 1 byte or more", "give more")
    return int(count)


def parse_percent(text: str, option: str) -> Fraction:
    """``5%`` as exactly 5/100. Raises ``RangeError``."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*%\s*", text, re.ASCII)
    if not match:
        raise RangeError(f"{option} {text[:40]!r}", "allowed: a share as 5% or 0.5%", "write the %")
    return Fraction(match[1]) / 100


def binary_unit(count: float) -> tuple[int, str]:
    """The binary unit in which ``count`` bytes are a short number: its bytes and its name."""
    power = 0
    while power < len(_UNITS) - 1 and abs(count) / 1024**power >= 999.5:
        power += 1
    return 1024**power, _UNITS[power]


def format_bytes(count: float | None) -> str:
    """Bytes in the binary unit that keeps the number short: ``21.3 MiB``. Missing is empty."""
    if count is None:
        return ""
    divisor, unit = binary_unit(count)
    digits = 1 if abs(count / divisor) < 99.95 and divisor > 1 else 0
    return f"{_rounded(count / divisor, digits):.{digits}f} {unit}"


def format_exact_bytes(count: int) -> str:
    """Bytes in the largest binary unit of which they are a whole number, as `parse_bytes` reads them."""
    power = 0
    while power < 4 and count and count % 1024 ** (power + 1) == 0:
        power += 1
    return f"{count // 1024**power}{_UNITS[power] if power else ''}"


def format_count(value: float) -> str:
    """A number with thousands separators, and a decimal where it matters: ``1,024``, ``0.5``, ``0``."""
    rounded = _rounded(value, 1 if abs(value) < 100 else 0)
    return f"{rounded:,.0f}" if rounded == int(rounded) else f"{rounded:,.1f}"


def format_flops(count: float) -> str:
    """Floating-point operations in the decimal unit that keeps the number short: ``6.7 MFLOP``."""
    power = 0
    prefixes = ("", "k", "M", "G", "T", "P", "E", "Z")
    while power < len(prefixes) - 1 and abs(count) / 1000**power >= 999.5:
        power += 1
    return f"{count / 1000**power:.{1 if power else 0}f} {prefixes[power]}FLOP"


def format_seconds(seconds: float | None) -> str:
    """Seconds in the unit that keeps the number short: ``12.3 ms``. Missing is empty."""
    if seconds is None:
        return ""
    for factor, unit in ((1e-6, "µs"), (1e-3, "ms")):
        if seconds < 999.5 * factor:
            value = seconds / factor
            return f"{value:.{1 if value < 99.95 else 0}f} {unit}"
    return f"{seconds:.1f} s"


def format_difference(part: float | None, whole: float | None) -> str:
    """How many percent ``part`` is above ``whole``, signed: ``+0.02``. Missing is empty."""
    if part is None or not whole:
        return ""
    percent = 100 * (part - whole) / whole
    digits = 2 if abs(percent) < 9.995 else 1
    return f"{_rounded(percent, digits):+.{digits}f}"


def _rounded(value: float, digits: int) -> float:
    """``value`` rounded. A result of zero has no minus sign."""
    return round(value, digits) + 0.0
