"""Bytes and seconds as text for people. Everywhere else bytes are integers and times are seconds."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def binary_unit(count: float) -> tuple[int, str]:
    """The unit in which ``count`` bytes are a short number: how many bytes it is, and its name."""
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
    """``value`` rounded; what rounds to zero has no minus."""
    return round(value, digits) + 0.0
