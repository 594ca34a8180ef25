"""The text format of Prometheus (exposition format 0.0.4), all of it gauges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; no two of its samples have the same labels."""

    name: str
    meaning: str
    samples: tuple[tuple[Mapping[str, str], float], ...]


def exposition(metrics: Iterable[Metric]) -> str:
    """Return the lines of all metrics that have samples."""
    lines: list[str] = []
    for each in metrics:
        if each.samples:
            lines.append(f"# HELP {each.name} {_escaped(each.meaning)}")
            lines.append(f"# TYPE {each.name} gauge")
            lines += [f"{each.name}{_labels(labels)} {value}" for labels, value in each.samples]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Mapping[str, str]) -> str:
    told = (f'{key}="{_escaped(value, quote=True)}"' for key, value in labels.items())
    return f"{{{','.join(told)}}}" if labels else ""


def _escaped(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text
