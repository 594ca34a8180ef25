"""Servers that are not the one in the configuration: nothing is sent to them, nothing follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.hostile import deeds
from tests.hostile.cases import LATER, REFUSED, impostors
from tests.hostile.node import unchanged
from tests.hostile.proxy import Purpose

if TYPE_CHECKING:
    from tests.hostile.node import Node, Site
    from tests.hostile.proxy import Exchange
    from tests.testbed.throwaway import ThrowawayCA

pytestmark = pytest.mark.servers


@impostors("proxy TLS", "its TLS certificate is not trusted")
def test_a_server_that_cannot_prove_itself_gets_nothing(
    site: Site, node: Node, ca: ThrowawayCA | None, pair: dict[str, Any], message: str
) -> None:
    with (
        site.proxy("impostor", ca, **pair) as impostor,
        unchanged(node),
        node.speaking_to(impostor.address),
    ):
        outcome = node.rotate()
        assert outcome.code == REFUSED
        assert message in outcome.said
        assert impostor.address in outcome.said
        assert "ca_file" in outcome.said
        assert impostor.seen == []


@pytest.mark.parametrize("purpose", [Purpose.HEALTH, Purpose.LOGIN, Purpose.LOOKUP, Purpose.SIGN])
@pytest.mark.parametrize("code", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_gets_no_token(
    site: Site, node: Node, purpose: Purpose, code: int
) -> None:
    with site.proxy("thief") as thief, unchanged(node):
        to = f"{thief.address}/v1/{site.mount}/sign/server"
        if purpose is Purpose.LOOKUP:
            node.proxy.deeds[Purpose.SIGN] = deeds.status(403)
        node.proxy.deeds[purpose] = deeds.status(code, Location=to, Refresh=f"0; url={to}")
        outcome = node.rotate()
        assert outcome.code == (REFUSED if purpose is Purpose.LOOKUP else LATER)
        assert purpose is Purpose.LOOKUP or thief.address in outcome.said
        assert thief.seen == []
        assert node.proxy.count(purpose) == 1


@pytest.mark.parametrize("location", ["", "//", "https://[", "\x1b]0;evil\x07", "x" * 10_000])
def test_a_redirect_to_nonsense_is_no_defect(node: Node, location: str) -> None:
    with unchanged(node):
        node.proxy.deeds[Purpose.SIGN] = deeds.status(307, Location=location)
        outcome = node.rotate()
        assert outcome.code == LATER
        assert "\x1b" not in outcome.said
        assert "x" * 1000 not in outcome.said


def test_a_plain_port_is_refused(node: Node) -> None:
    """Vault's own message over HTTP is no TLS record."""
    import http.server  # noqa: PLC0415  # for this alone
    import threading  # noqa: PLC0415

    with (
        unchanged(node),
        http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as plain,
    ):
        thread = threading.Thread(target=plain.serve_forever, args=(0.02,))
        thread.start()
        with node.speaking_to(f"https://127.0.0.1:{plain.server_port}"):
            outcome = node.rotate()
        plain.shutdown()
        thread.join()
        assert outcome.code == REFUSED
        assert "no TLS connection" in outcome.said


# Connections that are kept


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n",
    ],
)
def test_old_and_odd_ways_to_keep_a_connection_are_understood(node: Node, head: bytes) -> None:
    def old(exchange: Exchange) -> None:
        body = exchange.forward().body
        exchange.channel.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    node.proxy.deeds |= dict.fromkeys((Purpose.HEALTH, Purpose.LOGIN, Purpose.SIGN), old)
    assert node.rotate().code == 0
    assert node.rotate().code == 0


def test_a_kept_connection_without_a_length_is_not_waited_for_for_ever(node: Node) -> None:
    with unchanged(node):
        head = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"
        node.proxy.deeds[Purpose.SIGN] = deeds.endless(head, [b"{}"], 9)
        assert node.rotate().code == LATER


@pytest.mark.parametrize("padding", [0, 100_000])
def test_an_answer_behind_an_answer_is_not_taken_for_the_next_ones(
    many: Node, padding: int
) -> None:
    stale: list[bytes] = []

    def doubled(exchange: Exchange) -> None:
        body = exchange.forward().body + b" " * padding
        stale.append(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        exchange.channel.sendall(stale[-1] + stale[0])

    many.settings["limits"]["workers"] = 1
    many.write()
    many.proxy.deeds[Purpose.SIGN] = doubled
    outcome = many.rotate()
    # Published is what was asked for, or nothing.
    assert outcome.code in (0, REFUSED, LATER)
    assert "Traceback" not in outcome.said
    assert many.inconsistent() == []
