"""What no server answers, and what stands in no field of an answer."""

from __future__ import annotations

import json
from http.client import MULTIPLE_CHOICES
from typing import TYPE_CHECKING, Any

from tests.hostile import deeds

if TYPE_CHECKING:
    from tests.hostile.proxy import Deed, Exchange

    Path = tuple[str | int, ...]
    """Where a field stands in an answer."""


def nested(depth: int, inside: str = "1") -> bytes:
    """So many lists, one in the other."""
    return b"[" * depth + inside.encode() + b"]" * depth


NO_ANSWERS: dict[str, bytes] = {
    "nothing": b"",
    "empty JSON": b"{}",
    "a list": b"[]",
    "null": b"null",
    "true": b"true",
    "a number": b"7",
    "a number of 5,000 digits": b"9" * 5000,
    "text": b'"sealed"',
    "data null": b'{"data": null, "auth": null}',
    "data a list": b'{"data": [], "auth": []}',
    "data text": b'{"data": "x", "auth": "x"}',
    "data a number": b'{"data": 1e999, "auth": 1e999}',
    "data true": b'{"data": true, "auth": true}',
    "half a document": b'{"data": {"certificate": "',
    "two documents": b"{}{}",
    "not UTF-8": b"\xff\xfe\x00",
    "a zero byte": b"\x00",
    "HTML": deeds.HTML,
    "nested 100,000 deep": nested(100_000),
    "objects nested 100,000 deep": b'{"a":' * 100_000,
}


WRONG: tuple[Any, ...] = (
    None, True, False, 0, -1, 10**400, 1e308, float("nan"), "", "x", "\x00", "9" * 5000, [], [[]],
    [None], ["x"], {}, {"a": {"b": []}}, json.loads(nested(400)),
)  # fmt: skip


def with_field(path: Path, value: object) -> Deed:
    """Give the real answer, if it is a success, with this in one of its fields."""

    def deed(exchange: Exchange) -> None:
        answer = exchange.forward()
        place = document = answer.document
        if answer.status < MULTIPLE_CHOICES:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
        exchange.send(answer.status, json.dumps(document).encode())

    return deed
