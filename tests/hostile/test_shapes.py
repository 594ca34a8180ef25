"""Answers that are no Vault's, or have something else where a field belongs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.hostile import deeds
from tests.hostile.node import signatures, unchanged
from tests.hostile.proxy import Purpose
from tests.hostile.shapes import NO_ANSWERS, WRONG, nested, with_field

if TYPE_CHECKING:
    from tests.hostile.node import Node
    from tests.hostile.proxy import Exchange

pytestmark = pytest.mark.servers

REFUSED, LATER = 1, 75


@pytest.mark.parametrize("purpose", [Purpose.HEALTH, Purpose.LOGIN, Purpose.SIGN])
@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_vaults_answer_is_refused_at_once(
    node: Node, purpose: Purpose, name: str
) -> None:
    with unchanged(node):
        node.proxy.deeds[purpose] = deeds.status(200, NO_ANSWERS[name])
        outcome = node.rotate()
        assert outcome.code == REFUSED
        assert node.proxy.address in outcome.said
        assert "defect" not in outcome.said
        assert node.proxy.count(purpose) == 1


FIELDS = {
    Purpose.SIGN: (
        ("data",), ("data", "certificate"), ("data", "ca_chain"), ("data", "issuing_ca"),
        ("data", "serial_number"), ("data", "expiration"), ("data", "private_key"), ("warnings",),
        ("lease_id",), ("lease_duration",), ("auth",), ("errors",),
    ),
    Purpose.LOGIN: (
        ("auth",), ("auth", "client_token"), ("auth", "lease_duration"), ("auth", "renewable"),
        ("auth", "policies"), ("warnings",), ("errors",),
    ),
    Purpose.HEALTH: (
        ("initialized",), ("sealed",), ("standby",), ("server_time_utc",), ("version",),
        ("enterprise",),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("purpose", "path"), [(purpose, path) for purpose, paths in FIELDS.items() for path in paths]
)
def test_no_value_of_a_field_is_a_defect(
    node: Node, purpose: Purpose, path: tuple[str, ...]
) -> None:
    for value in WRONG:
        node.proxy.honest()
        node.proxy.deeds[purpose] = with_field(path, value)
        outcome = node.rotate()
        assert outcome.code in (0, REFUSED, LATER), value
        assert "defect" not in outcome.said, value
        assert "Traceback" not in outcome.said, value
        assert signatures(node) <= 3
        assert node.inconsistent() == []


@pytest.mark.parametrize("code", [400, 404, 500])
def test_no_shape_of_errors_is_a_defect(node: Node, code: int) -> None:
    for value in WRONG:
        for document in ({"errors": value}, {"errors": [value]}, value):
            node.proxy.honest()
            failure = deeds.status(code, json.dumps(document).encode())
            node.proxy.deeds[Purpose.SIGN] = deeds.times(1, failure)
            outcome = node.rotate()
            assert outcome.code in (0, REFUSED)
            assert "defect" not in outcome.said
            assert len(outcome.said) < 20_000


@pytest.mark.parametrize("depth", range(100, 1001, 100))
def test_no_depth_is_a_defect(node: Node, depth: int) -> None:
    for code in (200, 400):
        for key in ("errors", "warnings", "data"):
            body = b'{"%s": [%s]}' % (key.encode(), nested(depth))
            node.proxy.deeds[Purpose.SIGN] = deeds.status(code, body)
            outcome = node.rotate()
            assert outcome.code == REFUSED
            assert "defect" not in outcome.said


@pytest.mark.parametrize("apart", [-3600, -31, 31, 10**6])
def test_a_server_with_another_time_is_not_asked_for_a_signature(node: Node, apart: int) -> None:
    def late(exchange: Exchange) -> None:
        document = exchange.forward().document
        document["server_time_utc"] += apart
        exchange.send(200, json.dumps(document).encode())

    with unchanged(node):
        node.proxy.deeds[Purpose.HEALTH] = late
        outcome = node.rotate()
        assert outcome.code == REFUSED
        assert "s apart" in outcome.said
        assert node.proxy.count(Purpose.SIGN) == 0


def test_warnings_without_end_do_not_flood_the_log(node: Node) -> None:
    node.proxy.deeds[Purpose.SIGN] = with_field(("warnings",), ["beware"] * 90_000)
    outcome = node.rotate()
    assert outcome.code == 0
    assert "beware" in outcome.said
    assert outcome.said.count("beware") <= 20
