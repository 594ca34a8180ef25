"""The YAML files of this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def document(name: str) -> dict[str, Any]:
    """Return a file of this package as plain data, without its private (`x-`) keys."""
    import yaml  # noqa: PLC0415  # start-up time

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (FOLDER / name).read_text(encoding="utf-8")
    data = yaml.load(text, Loader=loader)  # noqa: S506  # safe, in C where there is one
    return {key: value for key, value in data.items() if not key.startswith("x-")}


def listed(value: object) -> tuple[str, ...]:
    """Return one or several words as a tuple."""
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)
