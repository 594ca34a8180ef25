"""The CSR path: servers that are not the one, and servers that repeat what they were sent."""

from __future__ import annotations

import http.server
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.hostile import deeds
from tests.hostile.cases import LATER, REFUSED, impostors
from tests.hostile.csrpath import changed, unchanged
from tests.hostile.node import holding
from tests.hostile.proxy import HOST, Purpose

if TYPE_CHECKING:
    from tests.hostile.csrpath import AskingNode, Cluster
    from tests.hostile.proxy import Exchange
    from tests.testbed.throwaway import ThrowawayCA

pytestmark = pytest.mark.servers

AT = pytest.mark.parametrize("purpose", [Purpose.LOOK, Purpose.SUBMIT])
NOISE = "no\n\x1b[2J\x1b]0;owned\x07\r\u202etxt\x00\x9b31m\n" + "n" * 2_000_000
KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n"


@impostors("kubernetes", "certificate verify failed")
def test_a_server_that_cannot_prove_itself_gets_nothing(
    cluster: Cluster,
    asking: AskingNode,
    ca: ThrowawayCA | None,
    pair: dict[str, Any],
    message: str,
) -> None:
    with cluster.proxy("impostor", ca, **pair) as impostor, unchanged(asking):
        asking.write(server=impostor.address)
        outcome = asking.renew()
        assert outcome.code == LATER
        assert message in outcome.said
        assert impostor.address in outcome.said
        assert "ca_file" in outcome.said
        assert impostor.seen == []
        asking.write(server=asking.proxy.address)


def test_a_plain_port_gets_nothing(asking: AskingNode) -> None:
    with (
        unchanged(asking),
        http.server.HTTPServer((HOST, 0), http.server.BaseHTTPRequestHandler) as plain,
    ):
        thread = threading.Thread(target=plain.serve_forever, args=(0.02,))
        thread.start()
        asking.write(server=f"https://{HOST}:{plain.server_port}")
        outcome = asking.renew()
        asking.write(server=asking.proxy.address)
        plain.shutdown()
        thread.join()
        assert outcome.code == LATER
        assert "does not answer" in outcome.said


@AT
@pytest.mark.parametrize("code", [300, 301, 303, 307])
def test_a_redirect_is_not_followed_and_gets_no_token(
    cluster: Cluster, asking: AskingNode, purpose: Purpose, code: int
) -> None:
    asking.strip()
    with cluster.proxy("thief") as thief, unchanged(asking, command="bootstrap"):
        to = f"{thief.address}/api"
        asking.proxy.deeds[purpose] = deeds.status(code, Location=to, Refresh=f"0; url={to}")
        outcome = asking.renew("bootstrap")
        assert outcome.code == LATER
        assert f"redirects to {to}" in outcome.said
        assert thief.seen == []


@pytest.mark.parametrize("location", ["", "//", "https://[", "\x1b]0;evil\x07", "x" * 10_000])
def test_a_redirect_to_nonsense_is_no_defect(asking: AskingNode, location: str) -> None:
    with unchanged(asking):
        asking.proxy.deeds[Purpose.LOOK] = deeds.status(307, Location=location)
        outcome = asking.renew()
        assert outcome.code == LATER
        assert "\x1b" not in outcome.said
        assert "x" * 1000 not in outcome.said


# What it repeats


@AT
@pytest.mark.parametrize(
    ("code", "content_type"),
    [
        (200, "application/json"), (200, "text/html"), (307, "text/html"),
        (400, "application/json"), (400, "text/html"), (401, "application/json"),
        (500, "text/html"),
    ],
)  # fmt: skip
def test_a_token_that_comes_back_is_not_repeated(
    cluster: Cluster, asking: AskingNode, purpose: Purpose, code: int, content_type: str
) -> None:
    asking.strip()
    with unchanged(asking, command="bootstrap"):
        asking.proxy.deeds[purpose] = deeds.echo(
            code, as_header="Location", content_type=content_type
        )
        outcome = asking.renew("bootstrap")
        assert outcome.code != 0
        assert (cluster.token,) in [each.secrets for each in asking.proxy.seen]
        assert cluster.token not in outcome.said
        assert not holding(asking.directory / "state", [cluster.token])


@pytest.mark.parametrize(("kind", "command"), [("Denied", "renew"), ("Failed", "bootstrap")])
@pytest.mark.parametrize(
    "text",
    [NOISE, KEY, "TOKEN", "see TOKEN.", '"TOKEN"'],
    ids=["noise", "key", "token", "token in a sentence", "token in quotes"],
)
def test_what_is_said_of_a_no_is_shown_on_one_line_and_without_secrets(
    cluster: Cluster, asking: AskingNode, kind: str, text: str, command: str
) -> None:
    text = text.replace("TOKEN", cluster.token)
    if command == "bootstrap":
        asking.strip()

    def no(document: Any) -> None:
        document["status"]["conditions"] = [{"type": kind, "status": "True", "message": text}]

    with unchanged(asking, command=command):
        asking.write(answer_within="60s")
        asking.proxy.deeds[Purpose.LOOK] = changed(no)
        outcome = asking.renew(command)
        assert outcome.code == REFUSED
        assert ("was denied: " if kind == "Denied" else "could not be signed: ") in outcome.said
        assert len(outcome.said) < 5000
        assert all(each.isprintable() or each == "\n" for each in outcome.said)
        assert "PRIVATE KEY" not in outcome.said
        assert cluster.token not in outcome.said
        assert not holding(asking.directory / "state", [cluster.token])


def test_a_token_in_an_escaped_form_is_not_repeated_either(
    cluster: Cluster, asking: AskingNode
) -> None:
    asking.strip()
    escaped = "".join(f"\\u{ord(each):04x}" for each in cluster.token)

    def sent(exchange: Exchange) -> None:
        exchange.send(403, b'{"message": "%s"}' % escaped.encode())

    with unchanged(asking, command="bootstrap"):
        asking.proxy.deeds[Purpose.SUBMIT] = sent
        outcome = asking.renew("bootstrap")
        assert outcome.code == REFUSED
        assert json.loads(f'"{escaped}"') == cluster.token
        assert cluster.token not in outcome.said
