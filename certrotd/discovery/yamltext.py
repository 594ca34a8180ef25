"""YAML with comments: small values on one line, comments where they belong."""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z0-9/_](?:[A-Za-z0-9./_@+-]| (?=[A-Za-z0-9]))*")
_GUESSED = re.compile(r"(?i:true|false|yes|no|on|off|null|y|n)|[-+0-9._]+(?:e[-+0-9.]+)?")
_UNSAFE = re.compile(r"[^ -~\u00a1-\ud7ff\ue000-\ufffd]+")


@dataclass(frozen=True, slots=True)
class Block:
    """A mapping."""

    entries: tuple[Entry, ...]

    def has(self, key: str) -> bool:
        """Whether there is such a key."""
        return any(each.key == key for each in self.entries)


Value = str | bool | tuple[str, ...] | tuple[Block, ...] | Block


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value; `above` are comments before it, `beside` is one behind it."""

    key: str
    value: Value
    above: tuple[str, ...] = ()
    beside: str = ""


def block(*entries: Entry | None, **values: Value | None) -> Block:
    """Make a mapping of entries and of keys with values; None and empty tuples are left out."""
    plain = (Entry(key, each) for key, each in values.items() if each not in (None, ()))
    return Block((*(each for each in entries if each is not None), *plain))


def render(top: Block) -> str:
    """Write a document."""
    return "\n".join(_mapping(top, 0)) + "\n"


def comment(text: str, indent: int = 0) -> list[str]:
    """Return a text as comment lines; a line feed in it begins a paragraph, `-` a list item."""
    pad = " " * indent
    lines: list[str] = []
    for part in text.split("\n"):
        hanging = re.match(r" *(?:[-0-9.]+ +)?", part)
        lines += textwrap.wrap(
            printable(part),
            WIDTH,
            initial_indent=f"{pad}# ",
            subsequent_indent=f"{pad}# " + " " * len(hanging[0] if hanging else ""),
            break_long_words=False,
            break_on_hyphens=False,
        ) or [f"{pad}#"]
    return lines


def printable(text: str) -> str:
    """Return text from outside as one line that can stand in a comment."""
    return _UNSAFE.sub("?", text)


def scalar(text: str) -> str:
    """Quote what YAML could read in another way."""
    if _PLAIN.fullmatch(text) and not _GUESSED.fullmatch(text):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return _UNSAFE.sub(lambda found: "".join(f"\\U{ord(each):08x}" for each in found[0]), quoted)


def _mapping(given: Block, indent: int) -> list[str]:
    pad = " " * indent
    lines: list[str] = []
    for each in given.entries:
        for text in each.above:
            lines += comment(text, indent) if text else [""]
        beside = f"   # {printable(each.beside)}" if each.beside else ""
        head = f"{pad}{scalar(each.key)}:"
        flow = _flow(each.value)
        fits = flow is not None and len(head) + 1 + len(flow) + len(beside) <= WIDTH
        if fits or flow in ("[]", "{}"):
            lines.append(f"{head} {flow}{beside}")
            continue
        lines.append(f"{head}{beside}")
        if isinstance(each.value, Block):
            lines += _mapping(each.value, indent + 2)
        elif isinstance(each.value, tuple):
            lines += _sequence(each.value, indent + 2)
        else:
            lines[-1] = f"{head} {flow}{beside}"  # a scalar has nowhere else to go
    return lines


def _sequence(values: Iterable[str | Block], indent: int) -> list[str]:
    pad = " " * indent
    lines: list[str] = []
    for each in values:
        flow = _flow(each)
        if flow is not None and len(pad) + 2 + len(flow) <= WIDTH:
            lines.append(f"{pad}- {flow}")
        elif isinstance(each, Block):
            first, *rest = _mapping(each, indent + 2)
            if first.lstrip().startswith("#"):
                lines += [f"{pad}-", first, *rest]
            else:
                lines += [f"{pad}- {first.lstrip()}", *rest]
        else:
            lines.append(f"{pad}- {scalar(each)}")
    return lines


def _flow(value: Value) -> str | None:
    """Write a value in one line; None if it has comments or should not be."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return scalar(value)
    if isinstance(value, Block):
        return _flow_mapping(value)
    if any(isinstance(each, Block) for each in value):
        return None
    return "[" + ", ".join(scalar(str(each)) for each in value) + "]"


def _flow_mapping(given: Block) -> str | None:
    parts = []
    for each in given.entries:
        flow = _flow(each.value)
        if flow is None or each.above or each.beside:
            return None
        parts.append(f"{scalar(each.key)}: {flow}")
    return "{ " + ", ".join(parts) + " }" if parts else "{}"
