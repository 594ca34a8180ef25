"""YAML files to plain data that remembers where everything stands.

All scalars stay text, so none of YAML's guesses (`on`, 0755, 12:30:45) reach a setting. Several
files are one document; a name given twice is a fault that tells both places.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from certrotd.config import files
from certrotd.core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from yaml import MarkedYAMLError


MERGED_SECTIONS = frozenset({"vaults", "issuers", "components"})
"""Top-level mappings whose entries may be spread over several files."""

PRIVATE_PREFIX = "x-"
"""Top-level keys that begin so are passed over: a place for YAML anchors."""

DEEPEST = 50
"""Levels of nesting; the parser's C part would overrun its stack at some thousand."""

MOST_VALUES = 200_000
"""Values in one file with its aliases written out; a few aliases of aliases are a bomb."""

Node = Any
"""A `yaml.Node`; its typing does not know `id`."""

Location = tuple[str | int, ...]
Marks = dict[Location, tuple[str, int]]


class Source(NamedTuple):
    """The document and, for each location in it, its file and line (from 1).

    `problems` are faults that do not keep the rest from being understood, `facts` the places in
    the section `preset` that went into values of a preset.
    """

    data: dict[str, object]
    marks: Marks
    problems: tuple[Problem, ...] = ()
    facts: Mapping[Location, tuple[Location, ...]] = MappingProxyType({})

    def problem(self, location: Location, message: str) -> Problem:
        """Say what is wrong at a location; the nearest marked place above it is named."""
        at = location
        while at and at not in self.marks:
            at = at[:-1]
        file, line = self.marks.get(at, ("", 0))
        return Problem(file=file, line=line, key=dotted(location), message=message)


def dotted(location: Location) -> str:
    """Render a location as `components.etcd.proofs[0].tls`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def read(path: Path) -> Source:
    """Read a configuration file and its `conf.d`.

    Raises:
        ConfigError: a file cannot be read or is no YAML mapping.
    """
    marks: Marks = {}
    data: dict[str, object] = {}
    paths, fatal = files.config_files(path)
    problems: list[Problem] = []
    for file in paths:
        part = _Document(str(file))
        try:
            part.load(files.text_of(file))
        except files.Unusable as e:
            fatal.append(Problem(file=str(file), line=part.line, key="", message=str(e)))
            continue
        problems += part.problems
        problems += _merge(data, marks, part)
    if not data and not fatal:
        fatal.append(Problem(file=str(path), line=0, key="", message="configures nothing"))
    if fatal:
        raise ConfigError(in_order([*fatal, *problems]))
    return Source(data, marks, tuple(problems))


def parse(text: str, file: str) -> Source:
    """Understand one document; `file` is what its places are named after.

    Raises:
        ConfigError: it is no YAML mapping.
    """
    part = _Document(file)
    try:
        part.load(text)
    except files.Unusable as e:
        raise ConfigError((Problem(file=file, line=part.line, key="", message=str(e)),)) from None
    return Source(part.data, part.marks, tuple(part.problems))


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort by file, line and key; what is found twice is told once."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda each: (each.file, each.line, each.key)))


@dataclass(slots=True)
class _Document:
    """One file while it is understood; `line` is where reading stopped for good."""

    file: str
    data: dict[str, object] = field(default_factory=dict)
    marks: Marks = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    line: int = 0
    _values: int = 0

    def load(self, text: str) -> None:
        """Parse; faults that leave the rest usable go to `problems`.

        Raises:
            Unusable: it is no YAML mapping, or too deep or too large a one.
        """
        node = self._compose(text)
        if node is None:
            return
        if node.id != "mapping":
            self._stop(node.start_mark, "must be a mapping of keys to values")
        self._keep(node, ())
        self.data = self._mapping(node, ())

    def _compose(self, text: str) -> Node | None:
        import yaml  # noqa: PLC0415  # start-up time

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        depth = 0
        try:
            for event in yaml.parse(text, Loader=loader):
                if isinstance(event, yaml.CollectionStartEvent):
                    depth += 1
                    if depth > DEEPEST:
                        self._stop(event.start_mark, f"is nested deeper than {DEEPEST} levels")
                elif isinstance(event, yaml.CollectionEndEvent):
                    depth -= 1
            return yaml.compose(text, Loader=loader)
        except yaml.reader.ReaderError as e:
            self.line = text.count("\n", 0, text.find(chr(e.character))) + 1
            raise files.Unusable(f"is not valid YAML: {e.reason}") from None
        except yaml.MarkedYAMLError as e:
            self._stop(e.problem_mark or e.context_mark, _syntax(e, text))

    def _stop(self, mark: Any, message: str) -> NoReturn:
        self.line = mark.line + 1 if mark else 0
        raise files.Unusable(message)

    def _fault(self, node: Node, location: Location, message: str) -> None:
        line = node.start_mark.line + 1
        key = dotted(location)
        self.problems.append(Problem(file=self.file, line=line, key=key, message=message))

    def _keep(self, node: Node, location: Location) -> None:
        """Remember where a location stands; with an alias the first place counts."""
        self.marks.setdefault(location, (self.file, node.start_mark.line + 1))

    def _plain(self, node: Node, location: Location) -> object:
        """Turn a node into text, None, list or dict."""
        self._values += 1
        if self._values > MOST_VALUES or len(location) > DEEPEST:
            self._stop(
                node.start_mark, "grows too large: an alias that holds itself or many others"
            )
        self._keep(node, location)
        if node.tag.removeprefix(_STANDARD) not in _TAGS:
            self._fault(node, location, f"has the tag {node.tag}; tags are not allowed")
        if node.id == "mapping":
            return self._mapping(node, location)
        if node.id == "sequence":
            return [self._plain(each, (*location, i)) for i, each in enumerate(node.value)]
        return None if node.tag == f"{_STANDARD}null" else str(node.value)

    def _mapping(self, node: Node, location: Location) -> dict[str, object]:
        result: dict[str, object] = {}
        for key_node, value_node in self._own(node, location):
            here = (*location, str(key_node.value))
            if here[-1] in result:
                first = self.marks[here][1]
                self._fault(key_node, here, f"is given twice; first in line {first}")
            elif location or not key_node.value.startswith(PRIVATE_PREFIX):
                self._keep(key_node, here)
                result[key_node.value] = self._plain(value_node, here)
        for key_node, value_node in self._merged(node, location, 0):
            if key_node.value not in result:
                here = (*location, str(key_node.value))
                result[key_node.value] = self._plain(value_node, here)
        return result

    def _own(self, node: Node, location: Location) -> Iterator[tuple[Node, Node]]:
        for key_node, value_node in node.value:
            if key_node.id != "scalar":
                self._fault(key_node, location, "has a list or a mapping where a key is expected")
            elif key_node.tag != _MERGE:
                yield key_node, value_node

    def _merged(self, node: Node, location: Location, depth: int) -> Iterator[tuple[Node, Node]]:
        """Yield what `<<` brings in; the first one to name a key wins (YAML merge key type)."""
        if depth > DEEPEST:
            self._stop(node.start_mark, "merges a mapping into itself")
        for key_node, value_node in node.value:
            if key_node.tag != _MERGE:
                continue
            for part in value_node.value if value_node.id == "sequence" else (value_node,):
                if part.id != "mapping":
                    self._fault(part, (*location, "<<"), "must name a mapping")
                    continue
                yield from self._own(part, location)
                yield from self._merged(part, location, depth + 1)


_STANDARD = "tag:yaml.org,2002:"
_MERGE = f"{_STANDARD}merge"
_TAGS = frozenset(
    {"map", "seq", "str", "int", "float", "bool", "null", "timestamp", "value", "merge"}
)


def _syntax(error: MarkedYAMLError, text: str) -> str:
    """Say what the parser found, with the usual cause where it is known."""
    mark = error.problem_mark
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "is not valid YAML: a tab indents this line; use spaces"
    if error.problem == "but found another document":
        return "holds a second YAML document; write one, without '---' inside"
    return f"is not valid YAML: {error.problem or error.context}"


def _merge(data: dict[str, object], marks: Marks, part: _Document) -> list[Problem]:
    """Add one file's document to the whole; return what is given twice."""
    problems = []

    def twice(location: Location) -> None:
        file, line = part.marks[location]
        first = "{}:{}".format(*marks[location])
        message = f"is given twice; first in {first}"
        problems.append(Problem(file=file, line=line, key=dotted(location), message=message))

    for key, value in part.data.items():
        present = data.get(key)
        if key in MERGED_SECTIONS and isinstance(present, dict) and isinstance(value, dict):
            for name in value:
                if name in present:
                    twice((key, name))
                else:
                    present[name] = value[name]
        elif key in data:
            twice((key,))
        else:
            data[key] = value
    marks |= part.marks | marks
    return problems
