"""YAML files to plain data that remembers where everything stands.

All scalars stay text, so none of YAML's guesses (`on`, 0755, 12:30:45) reach a setting. Several
files are one document; a name given twice is a fault that tells both places.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certrotd.core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import yaml

MERGED_SECTIONS = frozenset({"vaults", "issuers", "components"})
"""Top-level mappings whose entries may be spread over several files."""

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """The document and, for each location in it, its file and line (from 1)."""

    data: dict[str, object]
    marks: Mapping[Location, tuple[str, int]]

    def problem(self, location: Location, message: str) -> Problem:
        """Say what is wrong at a location; the nearest marked place above it is named."""
        at = location
        while at and at not in self.marks:
            at = at[:-1]
        file, line = self.marks.get(at, ("", 0))
        return Problem(file=file, line=line, key=dotted(location), message=message)


@dataclass(slots=True)
class _Reading:
    """What is gathered while files are read."""

    file: str
    marks: dict[Location, tuple[str, int]]
    problems: list[Problem] = field(default_factory=list)

    def fault(self, node: yaml.Node, location: Location, message: str) -> None:
        line = node.start_mark.line + 1
        self.problems.append(
            Problem(file=self.file, line=line, key=dotted(location), message=message)
        )


def dotted(location: Location) -> str:
    """Render a location as `components.etcd.proofs[0].tls`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def config_files(path: Path) -> tuple[Path, ...]:
    """Return the file and the `conf.d/*.yaml` beside it, in the order in which they are read."""
    return (path, *sorted((path.parent / "conf.d").glob("*.yaml")))


def read(path: Path) -> Source:
    """Read a configuration file and its `conf.d`.

    Raises:
        ConfigError: a file cannot be read, is no YAML mapping, or a key is given twice.
    """
    marks: dict[Location, tuple[str, int]] = {}
    data: dict[str, object] = {}
    problems: list[Problem] = []
    for file in config_files(path):
        reading = _Reading(file=str(file), marks={})
        part = _read_one(file, reading)
        problems += reading.problems
        problems += _merge(data, marks, part, reading)
    if problems:
        raise ConfigError(tuple(problems))
    return Source(data, marks)


def _read_one(file: Path, reading: _Reading) -> dict[str, object]:
    import yaml  # noqa: PLC0415  # start-up time

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        why = (e.strerror or str(e)) if isinstance(e, OSError) else "it is not UTF-8 text"
        message = f"cannot be read: {why}"
        reading.problems.append(Problem(file=str(file), line=0, key="", message=message))
        return {}
    loader = yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader
    try:
        node = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        why = getattr(e, "problem", None) or "it cannot be parsed"
        message = f"is not valid YAML: {why}"
        reading.problems.append(Problem(file=str(file), line=line, key="", message=message))
        return {}
    if node is None:
        return {}
    plain = _plain(node, (), reading)
    if not isinstance(plain, dict):
        reading.fault(node, (), "must be a mapping of keys to values")
        return {}
    return {key: value for key, value in plain.items() if not key.startswith("x-")}


def _plain(node: yaml.Node, location: Location, reading: _Reading) -> object:
    """Turn a node into text, None, list or dict, and remember where it stands."""
    import yaml  # noqa: PLC0415  # start-up time

    reading.marks.setdefault(location, (reading.file, node.start_mark.line + 1))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, location, reading)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*location, i), reading) for i, item in enumerate(node.value)]
    if node.tag == "tag:yaml.org,2002:null":
        return None
    return str(node.value)


def _mapping(
    node: yaml.MappingNode, location: Location, reading: _Reading
) -> dict[str, object]:
    import yaml  # noqa: PLC0415  # start-up time

    result: dict[str, object] = {}
    merged: dict[str, object] = {}
    for key_node, value_node in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            several = isinstance(value_node, yaml.SequenceNode)
            for part in value_node.value if several else (value_node,):
                plain = _plain(part, location, reading)
                merged |= plain if isinstance(plain, dict) else {}
            continue
        key = str(key_node.value)
        here = (*location, key)
        if key in result:
            first = reading.marks[here][1]
            reading.fault(key_node, here, f"is given twice; first in line {first}")
            continue
        reading.marks[here] = (reading.file, key_node.start_mark.line + 1)
        result[key] = _plain(value_node, here, reading)
    return merged | result


def _merge(
    data: dict[str, object],
    marks: dict[Location, tuple[str, int]],
    part: dict[str, object],
    reading: _Reading,
) -> list[Problem]:
    """Add one file's document to the whole; return what is given twice."""
    problems = []

    def twice(location: Location) -> None:
        file, line = marks[location]
        here = reading.marks[location]
        message = f"is given twice; first in {file}:{line}"
        problems.append(
            Problem(file=here[0], line=here[1], key=dotted(location), message=message)
        )

    for key, value in part.items():
        present = data.get(key)
        if key in MERGED_SECTIONS and isinstance(present, dict) and isinstance(value, dict):
            for name in value.keys() & present.keys():
                twice((key, name))
            data[key] = value | present
        elif key in data:
            twice((key,))
        else:
            data[key] = value
    for location, mark in reading.marks.items():
        marks.setdefault(location, mark)
    return problems


def host_name() -> str:
    """Return this machine's name, the default for `node`."""
    return os.uname().nodename
