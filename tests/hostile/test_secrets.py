"""Servers and gateways that repeat what they were sent: certrotd does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.hostile import deeds
from tests.hostile.node import unchanged
from tests.hostile.proxy import Purpose

if TYPE_CHECKING:
    from tests.hostile.node import Node
    from tests.hostile.proxy import Exchange

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("purpose", [Purpose.LOGIN, Purpose.SIGN, Purpose.LOOKUP])
@pytest.mark.parametrize("code", [200, 307, 400, 429, 500])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/html"])
def test_a_secret_that_comes_back_is_not_repeated(
    node: Node, purpose: Purpose, code: int, content_type: str
) -> None:
    with unchanged(node):
        if purpose is Purpose.LOOKUP:
            node.proxy.deeds[Purpose.SIGN] = deeds.status(403)
        node.proxy.deeds[purpose] = deeds.echo(
            code, as_header="Location", content_type=content_type
        )
        outcome = node.rotate()
        assert outcome.code != 0
        sent = {secret for each in node.proxy.seen for secret in each.secrets}
        assert sent
        assert not [secret for secret in sent if secret in outcome.said]
        assert "hvs." not in outcome.said
        assert not node.found_in_state(sent)


def test_neither_token_nor_key_is_in_what_is_said_of_a_refused_answer(node: Node) -> None:
    """With `issue` the key comes from Vault and must not be repeated either."""
    node.issuer["endpoint"] = "issue"
    node.write()
    with unchanged(node):

        def exchanged(exchange: Exchange) -> None:
            document = exchange.forward().document
            key = document["data"].pop("private_key")
            document |= {"errors": [key], "warnings": [key]}
            exchange.send(400, json.dumps(document).encode())

        node.proxy.deeds[Purpose.SIGN] = exchanged
        outcome = node.rotate()
        assert outcome.code == 1
        assert "PRIVATE KEY" not in outcome.said
