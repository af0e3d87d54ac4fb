"""Bytes, shares and seconds as people read them."""

from __future__ import annotations

_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def format_bytes(size_bytes: int) -> str:
    """Exact: ``1,003,520 B``."""
    return f"{size_bytes:,} B"


def format_size(size_bytes: int) -> str:
    """Short: ``980 KiB``, ``13.4 MiB``, ``512 B``. Without decimals only where that is exact."""
    value, unit = float(size_bytes), 0
    # 1023.95 would print as 1024.0 of the smaller unit.
    while abs(value) >= 1023.95 and unit < len(_BINARY_UNITS) - 1:
        value /= 1024
        unit += 1
    digits = f"{value:.0f}" if value == int(value) else f"{value:.1f}"
    return f"{digits} {_BINARY_UNITS[unit]}"


def format_both(size_bytes: int) -> str:
    """Exact and short: ``1,003,520 B (980 KiB)``."""
    exact, short = format_bytes(size_bytes), format_size(size_bytes)
    return exact if size_bytes < 1024 else f"{exact} ({short})"


def format_share(part: float, whole: float) -> str:
    """Part of the whole: ``60.0 %``; a dash where the whole is nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def format_gap(value: float, bound: float) -> str:
    """How far above a lower bound: ``+0.6 %``; ``+12`` where the bound is 0."""
    return f"+{format_share(value - bound, bound)}" if bound else f"+{value:,}"


def time_unit(seconds: float) -> tuple[float, str]:
    """Return the length in seconds and the name of the unit in which the time has 1 to 3 digits."""
    for length, name in _TIME_UNITS:
        if seconds >= 0.9995 * length:
            return length, name
    return _TIME_UNITS[-1] if seconds > 0 else _TIME_UNITS[0]


def format_in(seconds: float, unit_s: float) -> str:
    """Three significant digits in a given unit, without its name: ``1.84``."""
    value = seconds / unit_s
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{decimals}f}"


def format_seconds(seconds: float) -> str:
    """Three significant digits: ``1.84 ms``."""
    length, name = time_unit(seconds)
    return f"{format_in(seconds, length)} {name}"
