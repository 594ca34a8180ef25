"""The CSR path: what kube-apiserver answers is no answer, or no kube-apiserver's, or not now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from certrotd.kubelets import tending
from tests.hostile import deeds
from tests.hostile.cases import LATER, REFUSED, Case, table
from tests.hostile.csrpath import unchanged
from tests.hostile.proxy import Purpose
from tests.hostile.shapes import NO_ANSWERS, WRONG, with_field

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.hostile.csrpath import AskingNode
    from tests.hostile.proxy import Exchange
    from tests.hostile.shapes import Path

pytestmark = pytest.mark.servers

AT = pytest.mark.parametrize("purpose", [Purpose.LOOK, Purpose.SUBMIT])
FEW = 15
"""So often a server that is away is asked at most while it is waited for."""


FINAL = (
    Case("400", deeds.status(400), "HTTP 400: no"),
    Case("403", deeds.status(403), "HTTP 403: no"),
    Case("405 as HTML", deeds.html(405), "HTTP 405: <html>"),
    Case("412", deeds.status(412), "HTTP 412: no"),
    Case("501", deeds.status(501), "HTTP 501: no"),
)
STATUSES = (
    Case("409", deeds.status(409), "HTTP 409: no"),
    Case("429", deeds.status(429), "HTTP 429: no"),
    Case("429 with a date", deeds.status(429, Retry_After="Tue, 24 Nov"), "HTTP 429: no"),
    Case("500", deeds.status(500), "HTTP 500: no"),
    Case("502 as HTML", deeds.html(502), "HTTP 502: <html>"),
    Case("503", deeds.status(503, b""), "HTTP 503"),
    Case("504", deeds.status(504), "HTTP 504: no"),
    Case("200 as HTML", deeds.html(200), "not JSON"),
    Case("empty JSON", deeds.said({}), "sent no CertificateSigningRequest"),
)
CUTS = (
    Case("cut before the answer", deeds.cut_before_answer, "does not answer"),
    Case("cut in the head", deeds.cut_in_head, "not JSON"),
    Case("cut in the body", deeds.cut_in_body, "broke off"),
    Case("cut in a chunk", deeds.cut_in_chunk, "broke off"),
)


@AT
@table(*FINAL)
def test_what_will_not_pass_is_asked_once(asking: AskingNode, purpose: Purpose, case: Case) -> None:
    with unchanged(asking):
        asking.proxy.deeds[purpose] = case.deed
        outcome = asking.renew()
        assert outcome.code == REFUSED
        assert case.message in outcome.said
        assert asking.proxy.count(purpose) == 1


def test_a_request_that_may_not_be_made_here_is_asked_for_once(asking: AskingNode) -> None:
    with unchanged(asking):
        asking.proxy.deeds[Purpose.SUBMIT] = deeds.status(404)
        assert asking.renew().code == REFUSED
        assert asking.proxy.count(Purpose.SUBMIT) == 1


def test_a_request_that_is_never_found_is_made_once(asking: AskingNode) -> None:
    with unchanged(asking):
        asking.proxy.deeds[Purpose.LOOK] = deeds.status(404)
        outcome = asking.renew()
        assert outcome.code == REFUSED
        assert "is gone, and was not answered" in outcome.said
        assert asking.proxy.count(Purpose.SUBMIT) == 1


def test_whom_nobody_knows_any_more_asks_with_the_token_and_then_not_again(
    asking: AskingNode,
) -> None:
    with unchanged(asking):
        asking.proxy.deeds[Purpose.LOOK] = deeds.status(401)
        outcome = asking.renew()
        assert outcome.code == REFUSED
        assert "HTTP 401" in outcome.said
        assert asking.proxy.count(Purpose.LOOK) == 4  # each identity is read anew once


def insist_on_later(node: AskingNode, purpose: Purpose, case: Case) -> None:
    with unchanged(node):
        node.proxy.deeds[purpose] = case.deed
        outcome = node.renew()
        assert outcome.code == LATER
        assert case.message in outcome.said
        assert 1 <= node.proxy.count(purpose) <= FEW


@table(*STATUSES, *CUTS)
def test_what_may_pass_is_asked_again_for_as_long_as_an_answer_may_take(
    asking: AskingNode, case: Case
) -> None:
    insist_on_later(asking, Purpose.LOOK, case)


@table(*STATUSES[::3])
def test_so_is_a_request_that_is_not_taken(asking: AskingNode, case: Case) -> None:
    insist_on_later(asking, Purpose.SUBMIT, case)


@AT
@table(*STATUSES[1::3], *CUTS)
def test_what_passes_in_time_does_no_harm(asking: AskingNode, purpose: Purpose, case: Case) -> None:
    asking.write(answer_within="60s")
    asking.proxy.deeds[purpose] = deeds.times(1, case.deed)
    outcome = asking.renew()
    assert outcome.code == 0, outcome.said
    assert len(asking.requests()) == 1
    assert asking.consistent()


@table(*CUTS, Case("500", deeds.done_then(500), ""), Case("409", deeds.done_then(409), ""))
def test_a_request_whose_answer_is_always_lost_is_found_and_not_made_again(
    asking: AskingNode, case: Case
) -> None:
    asking.write(answer_within="60s")
    asking.proxy.deeds[Purpose.SUBMIT] = case.deed
    assert asking.renew().code == 0
    assert len(asking.requests()) == asking.proxy.count(Purpose.SUBMIT) == 1
    assert asking.consistent()


# How often


@pytest.mark.parametrize("named", ["0", "-5", "soon", ""])
def test_no_named_time_makes_certrotd_hammer(asking: AskingNode, named: str) -> None:
    insist_on_later(
        asking, Purpose.LOOK, Case("", deeds.status(429, Retry_After=named), "HTTP 429")
    )


def test_a_named_time_is_waited_for(asking: AskingNode) -> None:
    with unchanged(asking):
        asking.write(answer_within="2s")
        asking.proxy.deeds[Purpose.LOOK] = deeds.status(429, Retry_After="1")
        assert asking.renew().code == LATER
        assert 1 <= asking.proxy.count(Purpose.LOOK) <= 2


@pytest.mark.parametrize("named", ["3600", "9" * 400])
def test_a_named_time_beyond_what_an_answer_may_take_ends_it_at_once(
    asking: AskingNode, named: str
) -> None:
    with unchanged(asking):
        asking.write(answer_within="59s")
        asking.proxy.deeds[Purpose.LOOK] = deeds.status(503, Retry_After=named)
        assert asking.renew().code == LATER
        assert asking.proxy.count(Purpose.LOOK) == 1


def test_ever_other_errors_are_not_asked_for_more_often(asking: AskingNode) -> None:
    def numbered(exchange: Exchange) -> None:
        exchange.send(500, b'{"message": "%d"}' % len(asking.proxy.seen))

    asking.write(answer_within="2s")
    insist_on_later(asking, Purpose.LOOK, Case("", numbered, "HTTP 500"))


# Shapes


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look follows at once."""
    monkeypatch.setattr(tending, "FIRST_POLL", 0.01)
    monkeypatch.setattr(tending, "LONGEST_POLL", 0.01)


@pytest.mark.usefixtures("quickly")
@AT
def test_what_is_no_apiservers_answer_is_passed_over(asking: AskingNode, purpose: Purpose) -> None:
    asking.write(answer_within="60s")
    before, left = asking.files(), [deeds.status(200, each) for each in NO_ANSWERS.values()]

    def in_turn(exchange: Exchange) -> None:
        if left:
            assert asking.files() == before
            left.pop()(exchange)
        else:
            exchange.proxy.deeds.clear()
            exchange.send(503)

    asking.proxy.deeds[purpose] = in_turn
    outcome = asking.renew()
    assert outcome.code == 0, outcome.said
    assert left == []
    assert asking.consistent()


FIELDS: tuple[Path, ...] = (
    ("metadata",), ("metadata", "name"), ("metadata", "creationTimestamp"), ("spec",),
    ("spec", "request"), ("spec", "signerName"), ("spec", "expirationSeconds"), ("spec", "usages"),
    ("status",), ("status", "certificate"), ("status", "conditions"),
)  # fmt: skip
NODE_FIELDS: tuple[Path, ...] = (
    ("status",), ("status", "addresses"), ("status", "addresses", 0),
    ("status", "addresses", 0, "address"), ("status", "addresses", 1, "type"),
    ("status", "conditions"), ("status", "conditions", 0),
)  # fmt: skip
TEXTS = (
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "e\x1b]0;vil\x07", "n\u00e4me", "a b",
    "x" * 10_000,
)  # fmt: skip
CONDITIONS = tuple(
    [{"type": kind, "message": each, "lastUpdateTime": each}]
    for each in WRONG
    for kind in ("Approved", each)
)


def insist_on_no_defect(
    node: AskingNode, purpose: Purpose, path: Path, values: Iterable[Any]
) -> None:
    """Each value in turn; where one is refused or taken another run goes on with the next."""
    left = list(values)

    def in_turn(exchange: Exchange) -> None:
        with_field(path, left.pop() if left else "x")(exchange)

    node.proxy.deeds[purpose] = in_turn
    while left:
        before = len(left)
        node.rest()
        outcome = node.renew()
        assert outcome.code in (0, REFUSED, LATER)
        assert "defect" not in outcome.said, outcome.said
        assert "\x1b" not in outcome.said
        assert len(outcome.said) < 20_000
        assert len(left) < before


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize("path", FIELDS)
def test_no_value_of_a_field_is_a_defect(asking: AskingNode, path: Path) -> None:
    insist_on_no_defect(asking, Purpose.LOOK, path, (*WRONG, *TEXTS))
    assert asking.consistent()


@pytest.mark.usefixtures("quickly")
def test_no_value_of_a_condition_is_a_defect(asking: AskingNode) -> None:
    insist_on_no_defect(asking, Purpose.LOOK, ("status", "conditions"), CONDITIONS)
    assert asking.consistent()


@pytest.mark.parametrize("path", NODE_FIELDS)
def test_no_value_of_a_nodes_field_is_a_defect(asking: AskingNode, path: Path) -> None:
    asking.write(purposes=["serving"], answer_within="1ms")
    asking.lab.make_node(asking.name, ("Hostname", "node-9"), ("InternalIP", "10.0.0.19"))
    insist_on_no_defect(asking, Purpose.NODE, path, (*WRONG, *TEXTS))
    assert not asking.current("server").exists()
