"""Well-formed answers with the wrong certificate; the proxy signs with Vault's own CA key."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from certrotd.core import x509
from certrotd.core.model import KeyAlgorithm
from tests.hostile import deeds, forgeries
from tests.hostile.forgeries import forged
from tests.hostile.node import signatures, unchanged
from tests.hostile.proxy import Answer, Purpose, honestly

if TYPE_CHECKING:
    from tests.hostile.forgeries import Forgery
    from tests.hostile.node import Node
    from tests.hostile.proxy import Exchange

pytestmark = pytest.mark.servers

ENDPOINTS = pytest.mark.parametrize("endpoint", ["sign", "issue"])


def use(node: Node, endpoint: str) -> None:
    node.issuer["endpoint"] = endpoint
    node.write()


def insist_on_refusal(node: Node, forgery: Forgery, message: str) -> None:
    with unchanged(node):
        node.proxy.deeds[Purpose.SIGN] = forged(node.site, forgery)
        outcome = node.rotate()
        assert outcome.code == 1
        assert message in outcome.said
        assert "c0" in outcome.said
        assert "Traceback" not in outcome.said
        assert signatures(node) == 1


@ENDPOINTS
@pytest.mark.parametrize("name", forgeries.REFUSED)
def test_a_forgery_is_refused_and_named(node: Node, endpoint: str, name: str) -> None:
    use(node, endpoint)
    insist_on_refusal(node, *forgeries.REFUSED[name])


def test_a_private_key_that_nobody_asked_for_is_refused(node: Node) -> None:
    insist_on_refusal(node, forgeries.with_pair(KeyAlgorithm.ECDSA_P256), "a private key came back")


@pytest.mark.parametrize(
    ("forgery", "message"),
    [
        (forgeries.with_stranger_key, "public key: expected SHA-256"),
        (forgeries.with_pair(KeyAlgorithm.RSA_2048), "key: expected ecdsa-p256, got rsa-2048"),
        (forgeries.replaced(private_key=""), "the private key"),
    ],
)
def test_a_key_that_is_not_the_certificates_is_refused(
    node: Node, forgery: Forgery, message: str
) -> None:
    use(node, "issue")
    insist_on_refusal(node, forgery, message)


@ENDPOINTS
@pytest.mark.parametrize("name", forgeries.HARMLESS)
def test_what_is_only_untidy_is_published_tidily(node: Node, endpoint: str, name: str) -> None:
    use(node, endpoint)
    node.proxy.deeds[Purpose.SIGN] = forged(node.site, forgeries.HARMLESS[name])
    outcome = node.rotate()
    assert outcome.code == 0, outcome.said
    (published,) = node.serials()
    _leaf, *authorities = x509.split_pem(published)
    assert authorities == list(x509.split_pem(node.site.authority.pem))


def test_an_older_answer_is_refused(node: Node) -> None:
    older: list[bytes] = []

    def record(exchange: Exchange) -> None:
        answer = exchange.forward()
        older.append(answer.body)
        exchange.send(answer.status, answer.body)

    node.proxy.deeds[Purpose.SIGN] = record
    with unchanged(node):
        node.proxy.deeds[Purpose.SIGN] = deeds.status(200, older[0])
        outcome = node.rotate()
        assert outcome.code == 1
        assert "public key: expected SHA-256" in outcome.said
        assert signatures(node) == 0


class Swap:
    """Hold all answers until the last one is there, then give each request another's."""

    def __init__(self, parties: int) -> None:
        self._answers: list[Answer] = []
        self._lock = threading.Lock()
        self._all_there = threading.Barrier(parties, timeout=30)

    def __call__(self, exchange: Exchange) -> None:
        answer = exchange.forward()
        with self._lock:
            mine = len(self._answers)
            self._answers.append(answer)
        self._all_there.wait()
        other = self._answers[(mine + 1) % len(self._answers)]
        exchange.send(other.status, other.body)


@pytest.mark.parametrize(
    ("endpoint", "message"), [("sign", "public key"), ("issue", "common name")]
)
def test_answers_swapped_between_eight_workers_are_all_refused(
    many: Node, endpoint: str, message: str
) -> None:
    use(many, endpoint)
    many.connection.update({"read_timeout": "30s", "deadline": "60s"})
    many.write()
    with unchanged(many):
        many.proxy.deeds[Purpose.SIGN] = Swap(8)
        outcome = many.rotate()
        assert outcome.code == 1
        for number in range(8):
            assert f"the answer for certificate c{number} is not what was asked for" in outcome.said
        assert outcome.said.count(f"{message}: expected") >= 8
        assert signatures(many) == 8


def test_one_forgery_keeps_no_other_component_from_its_certificate(many: Node) -> None:
    assert many.rotate().code == 0
    before = many.serials()
    refuse = forged(many.site, forgeries.REFUSED["EKU any"][0])

    def chosen(exchange: Exchange) -> None:
        asked = json.loads(exchange.body)["common_name"]
        (refuse if asked == "c7.example" else honestly)(exchange)

    many.proxy.deeds[Purpose.SIGN] = chosen
    assert many.rotate().code == 1
    assert len(many.serials() & before) == 1
