"""What a settings class is: annotations are keys, docstrings are descriptions.

Plain classes, because thirty dataclasses cost each start 18 ms for methods that nobody calls:
pydantic fills them in (see validation), and a key that was left out is found on the class.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, NoReturn, dataclass_transform

from certrotd.config.scalars import Written

Kind = Any
"""The annotation of a key: a Section, `tuple[X, ...]`, `Mapping[Name, X]`, a Literal, written
text, or any of them `| None`."""


_KINDS: dict[type, Mapping[str, Kind]] = {}


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Section:
    """A mapping of the configuration with known keys; frozen.

    Where several keys exclude one another (`one_of`), exactly one must be given, as in a
    Kubernetes probe.
    """

    one_of: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        above = cls.__mro__[1]
        inherited = _KINDS[above] if above is not Section else {}
        _KINDS[cls] = {**inherited, **cls.__annotations__}

    def __init__(self, **given: object) -> None:
        self.__dict__.update(given)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen")


def kinds(section: type[Section]) -> Mapping[str, Kind]:
    """Return the keys of a section and what stands under each, in the order of the class."""
    return _KINDS[section]


def _origin(kind: Kind) -> Any:
    return typing.get_origin(kind)


def bare(kind: Kind) -> Kind:
    """Take `| None` off."""
    if _origin(kind) in (typing.Union, types.UnionType):
        return next(arg for arg in typing.get_args(kind) if arg is not types.NoneType)
    return kind


def written(kind: Kind) -> Written | None:
    """Return how a scalar is written, if it is one."""
    if _origin(kind) is not Annotated:
        return None
    return next((each for each in typing.get_args(kind) if isinstance(each, Written)), None)


def is_section(kind: Kind) -> typing.TypeGuard[type[Section]]:
    """Tell whether a bare kind is a Section."""
    return isinstance(kind, type) and issubclass(kind, Section)


def item(kind: Kind) -> Kind | None:
    """Return what a list holds, if the bare kind is one."""
    return typing.get_args(kind)[0] if _origin(kind) is tuple else None


def entry(kind: Kind) -> tuple[Kind, Kind] | None:
    """Return what a mapping's names and entries are, if the bare kind is one."""
    if _origin(kind) is not Mapping:
        return None
    names, values = typing.get_args(kind)
    return names, values


def words(kind: Kind) -> tuple[str, ...] | None:
    """Return the words of a closed choice, if the bare kind is one."""
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return tuple(kind)
    return typing.get_args(kind) if _origin(kind) is Literal else None


def kind_at(root: type[Section], location: tuple[str | int, ...]) -> Kind | None:
    """Return what belongs at a location; None where nothing does."""
    kind: Kind = root
    for part in location:
        kind = bare(kind)
        if is_section(kind):
            if part not in kinds(kind):
                return None
            kind = kinds(kind)[str(part)]
        elif (pair := entry(kind)) is not None:
            kind = pair[1]
        elif (inner := item(kind)) is not None:
            kind = inner
        else:
            return None
    return bare(kind)
