"""The reload matrix, from `matrix.yaml`."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any

from certrotd.core.reloading import MatrixRow, Version, parse_version
from certrotd.presets.programs import programs
from certrotd.presets.reading import document

_UNITS = {"s": 1, "m": 60, "h": 3600}


@functools.cache
def matrix() -> tuple[MatrixRow, ...]:
    """Return all rows, in the order of the file."""
    return tuple(
        _row(program, material, **row)
        for program, materials in document("matrix.yaml").items()
        if program in programs()
        for material, rows in materials.items()
        for row in rows
    )


def _row(
    program: str,
    material: str,
    *,
    since: str | None = None,
    before: str | None = None,
    within: str | None = None,
    life: str = "0s",
    **told: Any,
) -> MatrixRow:
    return MatrixRow(
        program=program,
        material=material,
        flags=programs()[program].flags(material),
        since=_version(since) if since else None,
        before=_version(before) if before else None,
        reloads=within is not None,
        within=_span(within or "0s"),
        minimum_life=_span(life),
        **told,
    )


def _version(text: str) -> Version:
    version = parse_version(text)
    if version is None:
        raise ValueError(f"{text} is no version")
    return version


def _span(text: str) -> timedelta:
    return timedelta(seconds=int(text[:-1]) * _UNITS[text[-1]])
