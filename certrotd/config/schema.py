"""The settings as a JSON Schema (2020-12), for editors and for people."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from typing import TYPE_CHECKING, Any

from certrotd.config import section
from certrotd.config.section import Section, bare, entry, is_section, item, kinds
from certrotd.config.settings import Nothing, Root
from certrotd.config.showing import plain
from certrotd.config.source import PRIVATE_PREFIX

if TYPE_CHECKING:
    from certrotd.config.scalars import Written

Schema = dict[str, Any]


_PARTIAL = "Partial"
"""Begins the names of definitions for what is laid over a preset: nothing is required there."""


def json_schema() -> Schema:
    """Return the JSON Schema of the configuration file.

    With a preset, `components` may say only what is different, and null removes.
    """
    definitions: dict[str, Schema] = {}
    root = _section(Root, definitions)
    whole = root["properties"]["components"]
    partial = _shape(kinds(Root)["components"], definitions, partial=True)
    root["properties"]["components"] = {"description": whole.pop("description")}
    root["if"] = {"required": ["preset"]}
    root["then"] = {"properties": {"components": partial}}
    root["else"] = {"properties": {"components": whole}, "required": ["components"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "certrotd configuration",
        **root,
        "patternProperties": {f"^{PRIVATE_PREFIX}": {"description": "A place for YAML anchors."}},
        "$defs": dict(sorted(definitions.items())),
    }


def descriptions(kind: type[Section]) -> dict[str, str]:
    """Return the text under each key of a section."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if not issubclass(each, Section):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for key, text in itertools.pairwise(body):
            match key, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(told))),
                ):
                    found[name] = inspect.cleandoc(told)
                case _:
                    pass
    return found


def _section(
    kind: type[Section], definitions: dict[str, Schema], *, partial: bool = False
) -> Schema:
    told = descriptions(kind)
    properties = {}
    for key, each in kinds(kind).items():
        shape = {**_shape(bare(each), definitions, partial=partial), "description": told[key]}
        default = getattr(kind, key, None)
        if default is not None and not isinstance(default, Section) and default:
            shape["default"] = plain(default, bare(each))
        properties[key] = shape
    schema: Schema = {
        "type": ["object", "null"] if kind is Nothing or partial else "object",
        "description": inspect.getdoc(kind),
        "additionalProperties": False,
        "properties": properties,
    }
    if partial:
        return schema
    if required := [key for key in properties if not hasattr(kind, key)]:
        schema["required"] = required
    if kind.one_of:
        schema["oneOf"] = [{"required": [key]} for key in kind.one_of]
    return schema


def _shape(kind: section.Kind, definitions: dict[str, Schema], *, partial: bool = False) -> Schema:
    if is_section(kind):
        name = f"{_PARTIAL}{kind.__name__}" if partial else kind.__name__
        if name not in definitions:
            definitions[name] = _section(kind, definitions, partial=partial)
        return {"$ref": f"#/$defs/{name}"}
    if (pair := entry(kind)) is not None:
        inner = _shape(bare(pair[1]), definitions, partial=partial)
        return {"type": ["object", "null"] if partial else "object", "additionalProperties": inner}
    shape = _list_or_value(kind, definitions)
    return {"anyOf": [shape, {"type": "null"}]} if partial else shape


def _list_or_value(kind: section.Kind, definitions: dict[str, Schema]) -> Schema:
    """Return the shape of what replaces as a whole."""
    if (written := section.written(kind)) is not None:
        types = written.json[0] if len(written.json) == 1 else list(written.json)
        return {"type": types, "title": written.meaning, "examples": [_example(written)]}
    if (each := item(kind)) is not None:
        return {"type": "array", "items": _shape(bare(each), definitions)}
    return {"enum": [str(word) for word in section.words(kind) or ()]}


def _example(written: Written) -> object:
    return written.write(written.parse(written.example))
