"""The check of one node: every concern, and none where all is well."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from certrotd.core.kubelets import Cause, Record, Wanted, begin
from certrotd.core.model.kubelets import NodeFacts
from certrotd.kubelets.checking import concerns
from certrotd.kubelets.concerns import Concern, Level, OwnRule
from tests.fakes.cluster import FakeNodes
from tests.unit.node_stage import CLIENT, MONTH, SERVING, Stage

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A node where all is well."""
    made = Stage(tmp_path)
    made.has(CLIENT)
    made.has(SERVING)
    return made


def check(stage: Stage) -> tuple[Concern, ...]:
    found = concerns(stage.tending.renewer, stage.tending.glance(), stage.clock.now())
    assert stage.access.asked_as == []
    assert stage.cluster.requests == {}
    assert all(each.fix for each in found)
    return found


def rules(stage: Stage) -> list[tuple[Level, OwnRule]]:
    return [(each.level, OwnRule(each.rule)) for each in check(stage)]


def test_nothing_is_said_where_all_is_well(stage: Stage) -> None:
    assert check(stage) == ()
    stage.access.token = False
    assert check(stage) == ()


def test_a_certificate_that_is_missing_damaged_or_another_keys(stage: Stage) -> None:
    critical = (Level.CRITICAL, OwnRule.CERTIFICATE)
    current = stage.directory / "pki" / "kubelet-server-current.pem"
    pair = current.read_bytes()
    stage.has(SERVING)
    begin_of_key = pair.index(b"-----BEGIN PRIVATE")
    other = current.read_bytes()
    current.resolve().write_bytes(other[: other.index(b"-----BEGIN PRIVATE")] + pair[begin_of_key:])
    assert "serving certificate is key_mismatch" in check(stage)[0].text
    current.resolve().write_bytes(b"damaged")
    assert "is unreadable" in check(stage)[0].text
    current.unlink()
    assert "is missing" in check(stage)[0].text
    assert rules(stage) == [critical]
    assert "renew --if-due --purpose serving" in check(stage)[0].fix


@pytest.mark.parametrize(("token", "extra"), [(True, 0), (False, 1)])
def test_a_client_certificate_that_has_ended_needs_a_credential(
    stage: Stage, extra: int, *, token: bool
) -> None:
    stage.access.token = token
    stage.clock.advance(MONTH + timedelta(seconds=1))
    stage.has(SERVING)
    found = check(stage)
    assert len(found) == 1 + extra
    assert "the client certificate is expired" in found[-1].text
    if extra:
        assert (found[0].level, found[0].rule) == (Level.CRITICAL, OwnRule.CREDENTIAL)
        assert "cannot come back by itself" in found[0].text
        assert found[0].fix == "make a token"


def test_a_certificate_that_is_about_to_end(stage: Stage) -> None:
    stage.clock.advance(MONTH * 0.93)
    assert rules(stage) == [(Level.WARNING, OwnRule.ENDING)] * 2


def test_names_that_have_changed_as_far_as_they_are_known_here(stage: Stage) -> None:
    stage.cluster.nodes["node-1"] = NodeFacts(
        name="node-1", exists=True, ip_addresses=frozenset({ip_address("10.0.0.99")})
    )
    assert check(stage) == ()
    stage.tending.renewer.means.names.ask(FakeNodes(stage.cluster))
    assert rules(stage) == [(Level.WARNING, OwnRule.NAMES_CHANGED)]
    assert "10.0.0.99" in check(stage)[0].text


def test_a_kubeconfig_that_is_gone(stage: Stage) -> None:
    (stage.directory / "kubelet.conf").unlink()
    assert rules(stage) == [(Level.CRITICAL, OwnRule.KUBECONFIG)]


def test_a_request_that_waits_for_longer_than_its_time_limit(stage: Stage) -> None:
    now, limit = stage.clock.now(), stage.terms.answer_within
    attempt = begin(Wanted(node="node-1", purpose=CLIENT), Cause.ASKED, now - limit)
    records = stage.tending.renewer.means.records
    records.save(CLIENT, Record(requests=(now,), attempt=attempt))
    assert check(stage) == ()
    stage.clock.advance(timedelta(minutes=1))
    assert rules(stage) == [(Level.WARNING, OwnRule.REQUEST)]
    assert f"{attempt.name} waits for 16 minutes" in check(stage)[0].text
    assert f"kubectl get csr {attempt.name}" in check(stage)[0].fix


def test_requests_that_were_all_in_vain(stage: Stage) -> None:
    now, records = stage.clock.now(), stage.tending.renewer.means.records
    record = Record(requests=tuple(now - timedelta(minutes=each) for each in (90, 80, 60, 40, 9)))
    records.save(SERVING, record)
    assert check(stage) == ()  # they were not in vain: it has a good one
    (stage.directory / "pki" / "kubelet-server-current.pem").unlink()
    assert rules(stage) == [
        (Level.CRITICAL, OwnRule.CERTIFICATE), (Level.WARNING, OwnRule.BUDGET),
    ]  # fmt: skip
    assert "5 serving requests in 6 hours did not help" in check(stage)[1].text
    records.save(SERVING, replace(record, requests=record.requests[1:]))
    assert rules(stage) == [(Level.CRITICAL, OwnRule.CERTIFICATE)]
