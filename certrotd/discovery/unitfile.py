"""Unit files (systemd.syntax(7), systemd.service(5)): the command a service runs, word by word."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.discovery.commandline import Word

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_PREFIX = re.compile(r"[-@:+!|]*")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_WHOLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_QUOTED = r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"""
_WORD = re.compile(rf"""(?:[^\s"'\\]|\\.|{_QUOTED}|["'\\])+""", re.DOTALL)
_PART = re.compile(rf"""\\(?:x[0-9a-fA-F]{{2}}|[0-7]{{3}}|.)|{_QUOTED}|.""", re.DOTALL)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[0-7]{3}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "s": " ", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One assignment of a unit file, with the file and the line it begins in."""

    name: str
    value: str
    file: str
    line: int


def settings(text: str, files: Collection[str], section: str = "Service") -> tuple[Setting, ...]:
    """Read the assignments of a section, in order, of what `systemctl cat` prints.

    An empty assignment resets a list, as systemd does. `files` tells which comments name a file.
    """
    found: list[Setting] = []
    inside = False
    for line in _lines(text, files):
        if line.value.startswith("["):
            inside = line.value.strip() == f"[{section}]"
        elif inside and "=" in line.value:
            name, _, value = line.value.partition("=")
            name, value = name.strip(), value.strip()
            if not value:
                found = [each for each in found if each.name != name]
            else:
                found.append(Setting(name, value, line.file, line.line))
    return tuple(found)


def _lines(text: str, files: Collection[str]) -> Iterator[Setting]:
    """Yield whole lines: a backslash at the end joins the next one, comments between fall out."""
    file, first = "", 0
    joined, began = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not joined and stripped.startswith("# ") and stripped[2:] in files:
            file, first = stripped[2:], number
        if stripped.startswith(("#", ";")) or (not stripped and not joined):
            continue
        began = began if joined else number
        joined += line.rstrip()
        if joined.endswith("\\"):
            joined = joined[:-1] + " "
            continue
        yield Setting("", joined.strip(), file, began - first)
        joined = ""
    if joined:
        yield Setting("", joined.strip(), file, began - first)


def command(setting: Setting, unit: str, environment: Mapping[str, str]) -> tuple[Word, ...]:
    """Return program and arguments of an `ExecStart=`; what is not known stays as it is.

    Raises:
        ValueError: a quote has no partner.
    """
    prefix = _PREFIX.match(setting.value)
    marks = prefix[0] if prefix else ""
    words = list(split(setting.value.removeprefix(marks)))
    if "@" in marks and len(words) > 1:
        del words[1]  # what the program is told it is called
    resolved: list[Word] = []
    for text, quoted in words:
        text = _specifiers(text, unit)  # noqa: PLW2901  # step by step
        if ":" in marks:
            resolved.append(Word(text, setting.line))
            continue
        whole = _WHOLE.fullmatch(text)
        if whole and not quoted and whole[1] in environment:
            parts = (each for each, _ in split(environment[whole[1]]))
            resolved += [Word(each, setting.line) for each in parts]
            continue
        text = _VARIABLE.sub(lambda found: environment.get(found[1], found[0]), text)  # noqa: PLW2901
        resolved.append(Word(text.replace("$$", "$"), setting.line))
    return tuple(resolved)


def environment(text: str) -> dict[str, str]:
    """Read the assignments of an `Environment=`.

    Raises:
        ValueError: a quote has no partner.
    """
    pairs = (each.partition("=") for each, _ in split(text))
    return {name: value for name, sign, value in pairs if sign}


def environment_file(text: str) -> dict[str, str]:
    """Read an `EnvironmentFile=`: lines of `NAME=value`, quoted or not, perhaps continued."""
    found: dict[str, str] = {}
    for line in _lines(text, ()):
        name, sign, value = line.value.removeprefix("export ").partition("=")
        if sign:
            value = value.strip()
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            found[name.strip()] = value
    return found


def split(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the words of a line as systemd splits it, and whether quotes were about each.

    Raises:
        ValueError: a quote has no partner.
    """
    for match in _WORD.finditer(text):
        word, quoted = "", False
        for part in _PART.finditer(match[0]):
            piece = part[0]
            if piece in ('"', "'"):
                raise ValueError(f"a quote ({piece}) has no partner")
            if piece[0] in "\"'":
                piece, quoted = piece[1:-1], True
            word += _ESCAPE.sub(_escaped, piece)
        yield word, quoted


def _escaped(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code[0].isdigit() and len(code) > 1:
        return chr(int(code, 8))
    return _ESCAPES.get(code, code)


def _specifiers(text: str, unit: str) -> str:
    """Fill in what the unit's own name says (systemd.unit(5), specifiers)."""
    stem = posixpath.splitext(unit)[0]
    prefix, _, instance = stem.partition("@")
    known = {"i": instance, "I": instance, "p": prefix, "P": prefix, "n": unit, "N": stem, "%": "%"}
    return re.sub(r"%(.)", lambda found: known.get(found[1], found[0]), text)
