"""A preset becomes plain data: the layout's document with this node's facts, and the file over it.

It happens before validation, so that what a preset says is checked as if somebody had written it;
every value keeps its place, in the layout's document or in the user's file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from certrotd.config import source as sources
from certrotd.config import validation
from certrotd.config.facts import Facts, flattened
from certrotd.config.origins import FROM_PRESET
from certrotd.config.overlay import Overlay
from certrotd.config.source import Source, in_order
from certrotd.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certrotd.config.source import Location
    from certrotd.core.errors import Problem

PRESET = "preset"
_NO_FACTS = ("layout", "components")


def expand(source: Source) -> Source:
    """Lay the document over its preset; a document without one is returned as it is.

    Raises:
        ConfigError: the section `preset` is faulty; the rest cannot be checked then.
    """
    given: Any = source.data.get(PRESET)
    if given is None:
        return source
    if problems := validation.problems_below(source, PRESET):
        raise ConfigError(in_order((*source.problems, *problems)))
    expansion = _Expansion(source, given)
    expanded = expansion.result()
    if expansion.problems:
        raise ConfigError(in_order((*source.problems, *expansion.problems)))
    return expanded


def marked_as(layout: str) -> str:
    """Return what stands for the file's name where a value comes from a layout."""
    return f"{FROM_PRESET}{layout}"


def _layout(name: str) -> Source:
    """Read a layout's document, laid over its base if it has one."""
    from certrotd.presets import layout_text  # noqa: PLC0415  # start-up time

    own = sources.parse(layout_text(name), marked_as(name))
    if (base := own.data.get("base")) is None:
        return own
    return Overlay(_layout(str(base)), own).result()


class _Expansion:
    """One expansion; what is wrong with the section `preset` is gathered in `problems`."""

    def __init__(self, source: Source, given: dict[str, Any]) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._given = given
        self._name = str(given["layout"])
        self._layout = _layout(self._name)
        self._all: dict[str, Any] = _map(self._layout.data["components"])
        own = _map(source.data.get("components"))
        self._removed = [name for name in self._all if name in own and own[name] is None]

    def result(self) -> Source:
        chosen = self._chosen()
        facts = Facts(
            defaults=self._layout.data["facts"],
            given={key: value for key, value in self._given.items() if key not in _NO_FACTS},
            node=str(self._source.data.get("node") or ""),
        )
        filled = {name: facts.filled(self._all[name], ("components", name)) for name in chosen}
        filled |= {name: {} for name in self._removed}
        for name in facts.missing:
            self._fault((PRESET,), f"{name} is required by the layout '{self._name}'")
        for name in flattened(self._given):
            if name not in facts.used and name not in _NO_FACTS:
                at = (PRESET, *name.split("."))
                self._fault(at, f"is not used by {', '.join(chosen)} of the layout '{self._name}'")
        base = Source({"components": filled}, self._marks(facts))
        expanded = self._pruned(Overlay(base, self._over()).result())
        return expanded._replace(facts={at: _places(names) for at, names in facts.given_at.items()})

    def _chosen(self) -> list[str]:
        """Return the components that this node has: the named ones, else all but the optional."""
        named = self._given.get("components") or []
        optional: Any = self._layout.data.get("optional", ())
        for i, name in enumerate(named):
            at = (PRESET, "components", i)
            if name not in self._all:
                near = validation.nearest(name, self._all) or f"; it has {', '.join(self._all)}"
                self._fault(at, f"'{name}' is no component of the layout '{self._name}'{near}")
            elif name in named[:i]:
                self._fault(at, f"names {name} a second time")
        if not named and self._layout.data.get("choose"):
            told = f"components are required by the layout '{self._name}'"
            self._fault((PRESET,), f"{told}: which of {', '.join(self._all)} runs here?")
        wanted = named or [name for name in self._all if name not in optional]
        return [name for name in self._all if name in wanted and name not in self._removed]

    def _over(self) -> Source:
        """Return what is laid over it; `components:` with only comments below it is nothing."""
        data = {**self._source.data}
        if data.get("components", self) is None:
            del data["components"]
        return self._source._replace(data=data)

    def _marks(self, facts: Facts) -> sources.Marks:
        marks = self._layout.marks
        own = {at: mark for at, mark in marks.items() if at[:1] == ("components",)}
        return {**own, **{at: marks[item] for at, item in facts.item_of.items()}}

    def _pruned(self, expanded: Source) -> Source:
        """Take from the layout's part what the user's part leaves no room for.

        No component waits for one that is not on this node, and what else a component reads
        matters to the activation `auto` only.
        """
        components = _map(expanded.data["components"])
        for name, component in components.items():
            if self._is_ours(expanded, ("components", name, "after")):
                component["after"] = [each for each in component["after"] if each in components]
            activation = _map(_map(component).get("activation"))
            if "auto" not in activation and self._is_ours(expanded, ("components", name, "reads")):
                del component["reads"]
        return expanded

    def _is_ours(self, expanded: Source, at: Location) -> bool:
        mark = self._layout.marks.get(at)
        return mark is not None and expanded.marks.get(at) == mark

    def _fault(self, at: Location, message: str) -> None:
        self.problems.append(self._source.problem(at, message))


def _places(names: Iterable[str]) -> tuple[Location, ...]:
    """Return where facts are given."""
    return tuple((PRESET, *name.split(".")) for name in names)


def _map(value: object) -> dict[str, Any]:
    """Return a mapping; what is none is told later, by validation."""
    return value if isinstance(value, dict) else {}
