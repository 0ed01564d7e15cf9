"""Bytes and seconds as text for people. Everywhere else bytes are integers and times are seconds."""

from __future__ import annotations


def format_bytes(count: int | float | None) -> str:
    """Bytes in the binary unit that keeps the number short: ``21.3 MiB``. Missing is empty."""
    if count is None:
        return ""
    value, sign = abs(count), "-" if count < 0 else ""
    if value < 1024:
        return f"{sign}{value:.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        value /= 1024
        if value < 1023.95:
            return f"{sign}{value:.1f} {unit}"
    return f"{sign}{value / 1024:,.1f} EiB"


def format_count(value: float) -> str:
    """A number with thousands separators and no decimals that say nothing: ``1,024``, ``0.5``."""
    if abs(value - round(value)) < 0.05:
        return f"{value:,.0f}".replace("-0", "0") if round(value) == 0 else f"{value:,.0f}"
    return f"{value:,.1f}"


def format_seconds(seconds: float | None) -> str:
    """Seconds in the unit that keeps the number short: ``12.3 ms``. Missing is empty."""
    if seconds is None:
        return ""
    for factor, unit in ((1e-6, "µs"), (1e-3, "ms")):
        if seconds < 1000 * factor:
            return f"{seconds / factor:.1f} {unit}"
    return f"{seconds:.1f} s"


def format_percent(part: int | float | None, whole: int | float | None) -> str:
    """How far ``part`` is from ``whole``, signed: ``+0.02 %``. Missing is empty."""
    if part is None or not whole:
        return ""
    return f"{100 * (part - whole) / whole:+.2f} %"
