"""Plain data to settings, by pydantic; every fault at once, with file, line and key.

The validator is made from `settings` with pydantic's core alone: pydantic's own reading of the
annotations takes 190 ms at each start, this takes 2 ms.
"""

from __future__ import annotations

import copy
import functools
from enum import EnumType
from typing import TYPE_CHECKING, Any, NamedTuple

from certrotd.config import section
from certrotd.config.section import Section, bare, entry, is_section, item, kinds
from certrotd.config.settings import Nothing, Root
from certrotd.config.source import in_order
from certrotd.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pydantic_core import CoreSchema, ErrorDetails, SchemaValidator

    from certrotd.config.section import Kind
    from certrotd.config.source import Location, Source
    from certrotd.core.errors import Problem


class Fault(NamedTuple):
    """What is wrong at a location, and how to go on as if it were not (`repair`)."""

    at: Location
    message: str
    repair: Callable[[Any, Location], None]


class Validated(NamedTuple):
    """Settings and the faults of shape found on the way.

    With faults, the settings hold stand-ins in their places, so that the rest can be checked too.
    """

    root: Root
    problems: tuple[Problem, ...]
    places: tuple[Location, ...]

    def stands_in(self, at: Location) -> bool:
        """Tell whether something at, above or below a location is a stand-in."""
        return any(place[: len(at)] == at or at[: len(place)] == place for place in self.places)


def validate(source: Source) -> Validated:
    """Validate the document.

    Raises:
        ConfigError: the document is so faulty that the rest cannot be checked.
    """
    data = source.data
    root, faults = _attempt(data)
    faults += _choices(data, Root, ())
    problems = (*source.problems, *(source.problem(each.at, each.message) for each in faults))
    if faults:
        data = copy.deepcopy(data)
        for fault in faults:
            fault.repair(data, fault.at)
        root, _ = _attempt(data)
    if root is None:
        raise ConfigError(in_order(problems))
    places = tuple(each.at for each in faults if each.repair is not _drop)
    return Validated(root, problems, places)


def problems_below(source: Source, section_name: str) -> tuple[Problem, ...]:
    """Return what is wrong with one top-level section, whatever the rest says."""
    data = {section_name: source.data[section_name]}
    faults = [*_attempt(data)[1], *_choices(data, Root, ())]
    return tuple(
        source.problem(each.at, each.message) for each in faults if each.at[0] == section_name
    )


def _attempt(data: object) -> tuple[Root | None, list[Fault]]:
    from pydantic_core import ValidationError  # noqa: PLC0415  # start-up time

    try:
        return validator().validate_python(data), []
    except ValidationError as e:
        details = e.errors(include_url=False, include_input=False)
        return None, [_fault(data, each) for each in details]


@functools.cache
def validator() -> SchemaValidator:
    """Build the validator of the whole document; pydantic's core is loaded only here."""
    from pydantic_core import SchemaValidator  # noqa: PLC0415  # start-up time

    return SchemaValidator(_schema(Root))


def _schema(kind: Kind) -> CoreSchema:
    """Translate an annotation to pydantic's core schema."""
    from pydantic_core import core_schema as core  # noqa: PLC0415  # start-up time

    inner = bare(kind)
    if inner is Nothing:  # `none:` with nothing behind it is given all the same
        return core.no_info_before_validator_function(
            lambda v: {} if v is None else v, _section(inner)
        )
    if is_section(inner):
        schema = _section(inner)
    elif (written := section.written(inner)) is not None:
        schema = core.no_info_after_validator_function(written.parse, core.str_schema(strict=True))
    elif (pair := entry(inner)) is not None:
        schema = core.dict_schema(_schema(pair[0]), _schema(pair[1]))
    elif (each := item(inner)) is not None:
        schema = core.tuple_schema([_schema(each)], variadic_item_index=0)
    elif isinstance(inner, EnumType):
        schema = core.enum_schema(inner, list(inner), sub_type="str")
    else:
        schema = core.literal_schema(list(section.words(inner) or ()))
    return core.nullable_schema(schema) if inner is not kind else schema


def _section(kind: type[Section]) -> CoreSchema:
    from pydantic_core import core_schema as core  # noqa: PLC0415  # start-up time

    fields = []
    for key, each in kinds(kind).items():
        schema = _schema(each)
        if hasattr(kind, key):
            # A factory: pydantic would copy a default, and all defaults are immutable.
            default = functools.partial(getattr, kind, key)
            schema = core.with_default_schema(schema, default_factory=default)
        fields.append(core.dataclass_field(key, schema, kw_only=True))
    arguments = core.dataclass_args_schema(kind.__name__, fields, extra_behavior="forbid")
    return core.dataclass_schema(kind, arguments, list(kinds(kind)))


def _fault(data: object, detail: ErrorDetails) -> Fault:
    """Say in certrotd's words what pydantic found."""
    at, kind = detail["loc"], detail["type"]
    if at[-1:] == ("[key]",):
        return Fault(at[:-1], _reason(detail), _drop_entry)
    if kind == "unexpected_keyword_argument":
        return Fault(at, _unknown(at), _drop)
    if kind == "missing":
        return Fault(at, "is required", _stand_in)
    if _value(data, at) is None:
        return Fault(at, "has no value", _stand_in)
    if kind in ("enum", "literal_error"):
        return Fault(at, _no_choice(data, at), _stand_in)
    return Fault(at, _MESSAGES.get(kind) or _reason(detail), _stand_in)


_MESSAGES = {
    "dataclass_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of keys to values",
    "tuple_type": "must be a list, as in [one, two]",
    "string_type": "must be a single value, not a list or a mapping",
}


def _reason(detail: ErrorDetails) -> str:
    return detail["msg"].removeprefix("Value error, ")


def _unknown(at: Location) -> str:
    kind = section.kind_at(Root, at[:-1])
    known = kinds(kind) if is_section(kind) else ()
    near = nearest(str(at[-1]), known)
    return f"unknown key{near or '; known here: ' + ', '.join(sorted(known))}"


def _no_choice(data: object, at: Location) -> str:
    words = section.words(section.kind_at(Root, at)) or ()
    value = _value(data, at)
    near = nearest(value, words) if isinstance(value, str) else ""
    return f"must be one of: {', '.join(words)}{near}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?`, or nothing if no known word is near."""
    import difflib  # noqa: PLC0415  # only faults need it

    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _value(data: Any, at: Location) -> object:
    """Return what the document holds at a location; None where there is nothing."""
    for part in at:
        try:
            data = data[part]
        except (LookupError, TypeError):
            return None
    return data


def _choices(data: object, kind: Kind, at: Location) -> Iterator[Fault]:
    """Find sections in which not exactly one of the excluding keys is given."""
    if not isinstance(data, dict | list):
        return
    kind = bare(kind)
    inside: Iterable[tuple[str | int, object, Kind]] = ()
    if is_section(kind) and isinstance(data, dict):
        known = kinds(kind)
        given = _given(data, kind) if kind.one_of else []
        if kind.one_of and len(given) != 1:
            found = f"found {' and '.join(given)}" if given else "found none"
            choice = ", ".join(kind.one_of)
            yield Fault(at, f"exactly one of {choice} must be given; {found}", _choose)
        inside = ((key, value, known[key]) for key, value in data.items() if key in known)
    elif (pair := entry(kind)) is not None and isinstance(data, dict):
        inside = ((name, value, pair[1]) for name, value in data.items())
    elif (inner := item(kind)) is not None and isinstance(data, list):
        inside = ((i, value, inner) for i, value in enumerate(data))
    for part, value, below in inside:
        yield from _choices(value, below, (*at, part))


def _given(data: dict[str, object], kind: type[Section]) -> list[str]:
    empty_counts = {key for key, each in kinds(kind).items() if bare(each) is Nothing}
    return [
        key
        for key in kind.one_of
        if data.get(key) is not None or (key in data and key in empty_counts)
    ]


def _drop(data: object, at: Location) -> None:
    parent = _value(data, at[:-1])
    if isinstance(parent, dict):
        parent.pop(str(at[-1]), None)


def _drop_entry(data: object, at: Location) -> None:
    """Drop an entry whose name is faulty; unlike an unknown key it will be missed."""
    _drop(data, at)


def _stand_in(data: object, at: Location) -> None:
    parent: Any = _value(data, at[:-1])  # a mapping or a list
    if parent is not None:
        parent[at[-1]] = _example(section.kind_at(Root, at))


def _choose(data: object, at: Location) -> None:
    kind, here = section.kind_at(Root, at), _value(data, at)
    if not is_section(kind) or not isinstance(here, dict):
        return
    chosen = (*_given(here, kind), kind.one_of[0])[0]
    for key in kind.one_of:
        if key != chosen:
            here.pop(key, None)
    if here.get(chosen) is None:
        here[chosen] = _example(bare(kinds(kind)[chosen]))


def _example(kind: Kind) -> object:
    """Return the smallest data that validates."""
    if is_section(kind):
        required = {k: bare(v) for k, v in kinds(kind).items() if not hasattr(kind, k)}
        chosen = {k: bare(kinds(kind)[k]) for k in kind.one_of[:1]}
        return {key: _example(each) for key, each in (required | chosen).items()}
    if (written := section.written(kind)) is not None:
        return written.example
    if entry(kind) is not None:
        return {}
    if item(kind) is not None:
        return []
    return next(iter(section.words(kind) or ()))
