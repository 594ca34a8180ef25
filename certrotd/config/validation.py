"""Plain data to settings, by pydantic; every fault at once, with file, line and key."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from typing import TYPE_CHECKING

from certrotd.config.settings import Root, Section
from certrotd.core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

    from certrotd.config.source import Location, Source


def adapter() -> TypeAdapter[Root]:
    """Build the validator; pydantic is loaded only here."""
    from pydantic import TypeAdapter  # noqa: PLC0415  # start-up time

    return TypeAdapter(Root)


def validate(source: Source) -> Root:
    """Validate the document.

    Raises:
        ConfigError: with every fault of shape, type and choice.
    """
    from pydantic import ValidationError  # noqa: PLC0415  # start-up time

    try:
        root = adapter().validate_python(source.data)
    except ValidationError as e:
        details = e.errors(include_url=False, include_input=False)
        problems = tuple(_problem(source, each) for each in details)
        raise ConfigError(problems) from None
    if problems := tuple(_choices(source, root, ())):
        raise ConfigError(problems)
    return root


def json_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of the configuration file."""
    schema = adapter().json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _problem(source: Source, detail: ErrorDetails) -> Problem:
    location = tuple(part for part in detail["loc"] if part != "[key]")
    kind = detail["type"]
    if kind == "unexpected_keyword_argument":
        return source.problem(location, _unknown(location))
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return source.problem(location, "is required")
    if kind in ("dataclass_type", "dict_type"):
        return source.problem(location, "must be a mapping of keys to values")
    message = detail["msg"].removeprefix("Value error, ")
    return source.problem(location, message)


def _unknown(location: Location) -> str:
    known = _keys_at(location[:-1])
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    if near:
        return f"unknown key; did you mean '{near[0]}'?"
    return f"unknown key; known here: {', '.join(sorted(known))}"


def _keys_at(location: Location) -> list[str]:
    """Return the keys that the section at a location knows."""
    kind: object = Root
    for part in location:
        kind = _bare(kind)
        section = _section(kind)
        if section is not None:
            kind = typing.get_type_hints(section)[str(part)]
        else:  # tuple[item, ...] or dict[key, item]
            kind = typing.get_args(kind)[0 if isinstance(part, int) else 1]
    section = _section(kind)
    return [each.name for each in dataclasses.fields(section)] if section else []


def _bare(kind: object) -> object:
    """Take `| None` off a type."""
    arguments = [arg for arg in typing.get_args(kind) if arg is not type(None)]
    optional = type(None) in typing.get_args(kind)
    return arguments[0] if optional and len(arguments) == 1 else kind


def _section(kind: object) -> type[Section] | None:
    bare = _bare(kind)
    return bare if isinstance(bare, type) and issubclass(bare, Section) else None


def _choices(source: Source, section: Section, at: Location) -> typing.Iterator[Problem]:
    """Find sections in which not exactly one of the excluding keys is given."""
    if section.one_of:
        given = [key for key in section.one_of if getattr(section, key) is not None]
        if len(given) != 1:
            choice = ", ".join(section.one_of)
            found = f"found {' and '.join(given)}" if given else "found none"
            yield source.problem(at, f"exactly one of {choice} must be given; {found}")
    for each in dataclasses.fields(typing.cast("typing.Any", section)):
        value = getattr(section, each.name)
        for where, inner in _inside(value, (*at, each.name)):
            yield from _choices(source, inner, where)


def _inside(value: object, at: Location) -> typing.Iterator[tuple[Location, Section]]:
    if isinstance(value, Section):
        yield at, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _inside(inner, (*at, key))
    elif isinstance(value, tuple):
        for i, inner in enumerate(value):
            yield from _inside(inner, (*at, i))
