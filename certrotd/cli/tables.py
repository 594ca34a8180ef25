"""Plain tables and short spans of time, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

_GAP = "  "
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out rows under a header; the last column may be as long as it likes."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def span(length: timedelta) -> str:
    """Write a span of time in its two largest units, as `6d23h`; negative ones with a minus."""
    seconds = int(length.total_seconds())
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    parts: list[str] = []
    for unit, size in _UNITS:
        if seconds >= size or (unit == "s" and not parts):
            parts.append(f"{seconds // size}{unit}")
            seconds %= size
    return sign + "".join(parts[:2])


def moment(at: datetime | None) -> str:
    """Write a time in UTC to the second."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else "-"


def short(serial: str | None) -> str:
    """Write the first 16 digits of a serial, enough to tell two apart."""
    return (serial[:16] if serial else "-") or "-"
