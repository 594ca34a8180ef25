"""Statuses and broken connections: what is tried again, how it ends, what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hostile import deeds
from tests.hostile.cases import LATER, REFUSED, Case, table
from tests.hostile.node import signatures, unchanged
from tests.hostile.proxy import Purpose

if TYPE_CHECKING:
    from tests.hostile.node import Node
    from tests.hostile.proxy import Deed

pytestmark = pytest.mark.servers

AT = pytest.mark.parametrize("purpose", [Purpose.HEALTH, Purpose.LOGIN, Purpose.SIGN])


FINAL = (
    Case("400", deeds.status(400), ": 400: no"),
    Case("401", deeds.status(401), ": 401: no"),
    Case("403", deeds.status(403), ": 403: no"),
    Case("404", deeds.status(404), ": 404: no"),
    Case("404 as HTML", deeds.html(404), ": 404: no explanation"),
    Case("405", deeds.status(405), ": 405: no"),
    Case("413", deeds.status(413), ": 413: no"),
    Case("501", deeds.status(501), ": 501: no", LATER),
)
STATUSES = (
    Case("412", deeds.status(412), ": 412: no"),
    Case("429", deeds.status(429), ": 429: no"),
    Case("429 with a date", deeds.status(429, Retry_After="Tue, 24 Nov"), ": 429: no"),
    Case("500", deeds.status(500), ": 500: no"),
    Case("502 as HTML", deeds.html(502), ": 502: no explanation"),
    Case("503", deeds.status(503, b'{"errors":["Vault is sealed"]}'), "vault operator unseal"),
    Case("504", deeds.status(504), ": 504: no"),
)
CUTS = (
    Case("cut before the answer", deeds.cut_before_answer, ""),
    Case("cut in the head", deeds.cut_in_head, "broke off"),
    Case("cut in the body", deeds.cut_in_body, ""),
    Case("cut in a chunk", deeds.cut_in_chunk, ""),
)
PASSING = (*STATUSES, *CUTS)


@AT
@table(*FINAL)
def test_what_will_not_pass_is_asked_once(node: Node, purpose: Purpose, case: Case) -> None:
    with unchanged(node):
        node.proxy.deeds[purpose] = case.deed
        outcome = node.rotate()
        assert outcome.code == case.code
        assert case.message in outcome.said
        assert node.proxy.address in outcome.said
        assert node.proxy.count(purpose) == 1


def insist_on_retries(node: Node, purpose: Purpose, case: Case) -> None:
    with unchanged(node):
        node.proxy.deeds[purpose] = case.deed
        outcome = node.rotate()
        assert outcome.code == LATER
        assert "(tried " in outcome.said
        assert case.message in outcome.said
        assert node.proxy.address in outcome.said
        assert 2 <= node.proxy.count(purpose) <= 6


@table(*PASSING)
def test_what_may_pass_is_tried_again_until_the_deadline(node: Node, case: Case) -> None:
    insist_on_retries(node, Purpose.SIGN, case)


@pytest.mark.parametrize("purpose", [Purpose.HEALTH, Purpose.LOGIN])
@table(STATUSES[1], STATUSES[5], CUTS[0], CUTS[1], CUTS[2])
def test_so_is_what_comes_before_the_signature(node: Node, purpose: Purpose, case: Case) -> None:
    insist_on_retries(node, purpose, case)


@table(*PASSING)
def test_what_passes_in_time_does_no_harm(node: Node, case: Case) -> None:
    node.proxy.deeds[Purpose.SIGN] = deeds.times(1, case.deed)
    outcome = node.rotate()
    assert outcome.code == 0
    assert node.proxy.count(Purpose.SIGN) == 2
    assert len(node.serials()) == 1


# Retry-After


def test_a_named_time_within_the_deadline_is_waited_for(node: Node) -> None:
    node.proxy.deeds[Purpose.SIGN] = deeds.times(1, deeds.status(429, Retry_After="1"))
    outcome = node.rotate()
    assert outcome.code == 0
    assert '"pause": 1.0' in outcome.said
    assert node.proxy.count(Purpose.SIGN) == 2


@pytest.mark.parametrize("named", ["3600", "9" * 400])
@pytest.mark.parametrize("code", [429, 503])
def test_a_named_time_beyond_the_deadline_ends_the_request_at_once(
    node: Node, named: str, code: int
) -> None:
    with unchanged(node):
        node.proxy.deeds[Purpose.SIGN] = deeds.status(code, Retry_After=named)
        assert node.rotate().code == LATER
        assert node.proxy.count(Purpose.SIGN) == 1


@pytest.mark.parametrize("named", ["0", "00", "-5", "soon", "0.001", ""])
def test_no_named_time_makes_certrotd_hammer(node: Node, named: str) -> None:
    with unchanged(node):
        node.proxy.deeds[Purpose.SIGN] = deeds.status(429, Retry_After=named)
        assert node.rotate().code == LATER
        # On a busy machine the deadline may end before a second try.
        assert 1 <= node.proxy.count(Purpose.SIGN) <= 6


# Tokens that end


def test_a_token_that_is_refused_is_replaced_once(node: Node) -> None:
    with unchanged(node):
        node.proxy.deeds |= {
            Purpose.SIGN: deeds.status(403), Purpose.LOOKUP: deeds.status(403),
        }  # fmt: skip
        assert node.rotate().code == REFUSED
        assert node.proxy.count(Purpose.LOGIN) == 2
        assert node.proxy.count(Purpose.SIGN) == 2


def test_a_new_token_opens_the_way(node: Node) -> None:
    node.proxy.deeds |= {
        Purpose.SIGN: deeds.times(1, deeds.status(403)), Purpose.LOOKUP: deeds.status(403),
    }  # fmt: skip
    assert node.rotate().code == 0
    assert node.proxy.count(Purpose.LOGIN) == 2


def test_a_refused_login_is_not_repeated_for_each_certificate(many: Node) -> None:
    with unchanged(many):
        many.proxy.deeds[Purpose.LOGIN] = deeds.status(400)
        assert many.rotate().code == REFUSED
        assert many.proxy.count(Purpose.LOGIN) == 1
        assert many.proxy.count(Purpose.SIGN) == 0


# The budget


@pytest.mark.parametrize(
    "deed", [deeds.done_then(500), deeds.done_then(504), deeds.cut_in_body, deeds.delay(9)]
)
def test_signatures_that_were_lost_on_the_way_count(node: Node, deed: Deed) -> None:
    node.settings["limits"]["issuances_per_day"] = 2
    node.write()
    node.proxy.deeds[Purpose.SIGN] = deed
    assert [node.rotate().code for _ in range(2)] == [LATER, LATER]
    made = signatures(node)
    outcome = node.rotate()
    assert outcome.code == REFUSED
    assert "was signed 2 times in 24 hours" in outcome.said
    assert signatures(node) == made


def test_a_signature_that_was_refused_does_not_count(node: Node) -> None:
    node.settings["limits"]["issuances_per_day"] = 2
    node.write()
    node.proxy.deeds[Purpose.SIGN] = deeds.status(400)
    assert [node.rotate().code for _ in range(4)] == [REFUSED] * 4
    node.proxy.honest()
    assert node.rotate().code == 0


@pytest.mark.parametrize("named", [None, "0"])
def test_one_run_asks_for_few_signatures_however_long_the_deadline(
    node: Node, named: str | None
) -> None:
    node.connection["deadline"] = "60s"
    node.write()
    headers = {} if named is None else {"Retry_After": named}
    node.proxy.deeds[Purpose.SIGN] = deeds.done_then(500, **headers)
    assert node.rotate().code == LATER
    assert signatures(node) == 3
