"""The renewer of one node, with a clock and a cluster in memory; store and records are real."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from certrotd.core.errors import ApiUnavailable
from certrotd.core.kubelets import Cause, specification
from certrotd.core.model import ServiceState, SigningRequest
from certrotd.kubelets.progress import State
from certrotd.kubelets.renewing import NoIdentity
from certrotd.ports import Event

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.kubelets.progress import Progress


from tests.unit.node_stage import CLIENT, MINUTE, MONTH, SERVING, Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_what_is_good_is_left_alone_and_nobody_is_asked(stage: Stage) -> None:
    stage.has(CLIENT)
    stage.has(SERVING)
    assert stage.look(CLIENT).state is State.FRESH
    assert stage.access.asked_as == []
    assert stage.look(SERVING).state is State.FRESH
    stage.tending.tend()
    assert stage.cluster.requests == {}
    assert stage.log.lines == []


def test_a_kubelet_is_given_time_and_then_helped(stage: Stage) -> None:
    watched = stage.look()
    assert (watched.state, watched.cause) == (State.WATCHED, Cause.MISSING)
    assert stage.cluster.requests == {}
    stage.clock.advance(5 * MINUTE)
    assert stage.look().state is State.PENDING
    assert len(stage.cluster.requests) == 1
    assert stage.access.asked_as == ["token"]


def test_from_nothing_to_a_kubelet_that_uses_it(stage: Stage) -> None:
    assert stage.look(patient=False).state is State.PENDING
    stage.answer()
    done = stage.look()
    assert done.state is State.RENEWED
    assert stage.service.activations == 1
    assert done.leaf is not None
    assert stage.serial() == done.leaf.serial
    assert stage.store.kubeconfig_problem(stage.clock.now()) == ""
    assert stage.log.events == [
        Event.KUBELET_CERTIFICATE_REQUESTED,
        Event.KUBELET_CERTIFICATE_STORED,
        Event.KUBELET_KUBECONFIG_WRITTEN,
        Event.COMPONENT_ACTIVATED,
        Event.GATE_PASSED,
        Event.KUBELET_CERTIFICATE_IN_USE,
    ]
    assert stage.look().state is State.FRESH


def test_an_ended_certificate_is_replaced_without_waiting(stage: Stage) -> None:
    stage.has(CLIENT, ttl=timedelta(hours=1))
    stage.clock.advance(timedelta(hours=2))
    assert stage.look().state is State.PENDING
    assert stage.access.asked_as == ["token"]


def test_without_a_credential_it_says_what_to_do_and_counts_nothing(stage: Stage) -> None:
    stage.access.token = False
    with pytest.raises(NoIdentity, match="nothing to ask with") as caught:
        stage.look(patient=False)
    assert "kubeadm token create" in caught.value.hint
    stage.access.token = True
    assert stage.look(patient=False).state is State.PENDING


def test_a_node_whose_ca_is_forgotten_asks_with_the_token(stage: Stage) -> None:
    stage.has(CLIENT)
    stage.access.lets_node_in = False
    assert stage.look(asked=True).state is State.PENDING
    assert stage.access.asked_as == ["node", "token"]
    stage.answer()
    assert stage.look().state is State.RENEWED


def test_a_killed_process_goes_on_with_the_same_request(stage: Stage) -> None:
    stage.look(patient=False)
    stage.anew()
    assert stage.look().state is State.PENDING
    assert len(stage.cluster.requests) == 1
    stage.answer()
    stage.anew()
    assert stage.look().state is State.RENEWED


def test_killed_before_it_was_submitted_the_same_request_is_submitted(stage: Stage) -> None:
    stage.cluster.away = ApiUnavailable("away")
    with pytest.raises(ApiUnavailable):
        stage.look(patient=False)
    stage.cluster.away = None
    stage.anew()
    stage.look()
    (request,) = stage.cluster.requests
    assert stage.log.of(Event.KUBELET_CERTIFICATE_REQUESTED) == [
        stage.log.of(Event.KUBELET_CERTIFICATE_REQUESTED)[0]
    ]
    assert stage.log.of(Event.KUBELET_CERTIFICATE_REQUESTED)[0]["request"] == request


def test_killed_between_store_and_restart_the_restart_is_owed(stage: Stage) -> None:
    class Dies(Exception):
        pass

    def die() -> None:
        raise Dies

    stage.look(patient=False)
    stage.answer()
    stage.service.on_activate = die
    with pytest.raises(Dies):
        stage.look()
    stage.service.on_activate = None
    stage.anew()
    assert stage.look().state is State.RENEWED
    assert len(stage.log.of(Event.KUBELET_CERTIFICATE_STORED)) == 1


def test_a_kubelet_that_has_started_since_is_not_restarted(stage: Stage) -> None:
    stage.look(patient=False)
    stage.answer()
    stage.service.started_at = stage.clock.now() + MINUTE
    assert stage.look().state is State.RENEWED
    assert stage.service.activations == 0


def test_a_kubelet_that_is_down_stays_down(stage: Stage) -> None:
    stage.service.is_now = ServiceState.STOPPED
    stage.look(patient=False)
    stage.answer()
    assert stage.look().state is State.RENEWED
    assert stage.service.activations == 0
    assert Event.COMPONENT_LEFT_STOPPED in stage.log.events


def test_it_is_over_only_when_the_gates_hold(stage: Stage) -> None:
    stage.gate.is_open = False
    stage.look(patient=False)
    stage.answer()
    assert stage.look().state is State.SETTLING
    stage.clock.advance(MINUTE)
    assert stage.look().state is State.SETTLING
    stage.gate.is_open = True
    assert stage.look().state is State.RENEWED
    assert stage.service.activations == 1


def test_a_kubelet_that_does_not_come_back_is_told_once_and_not_restarted_for_ever(
    stage: Stage,
) -> None:
    stage.gate.is_open = False
    stage.service.failures = 1
    stage.look(patient=False)
    stage.answer()
    stage.look()
    stage.clock.advance(6 * MINUTE)
    assert stage.look().state is State.FAILED
    assert Event.KUBELET_RESTART_FAILED in stage.log.events
    assert len(stage.log.of(Event.KUBELET_GATE_FAILED)) == 1
    assert stage.look().state is State.FRESH


@pytest.mark.parametrize("kind", ["denied", "failed"])
def test_a_no_costs_the_key_and_a_pause(stage: Stage, kind: str) -> None:
    stage.look(patient=False)
    (request,) = stage.cluster.requests.values()
    denied = kind == "denied"
    answered = replace(request, denied="never") if denied else replace(request, failed="never")
    stage.cluster.put(answered)
    failed = stage.look(patient=False)
    assert failed.state is State.FAILED
    assert "never" in failed.detail
    assert stage.look(patient=False).state is State.PAUSING
    stage.clock.advance(MINUTE)
    assert stage.look(patient=False).state is State.PENDING
    assert len(stage.cluster.requests) == 2


def test_a_request_that_is_gone_is_not_made_again_at_once(stage: Stage) -> None:
    stage.look(patient=False)
    stage.cluster.requests.clear()
    assert "is gone" in stage.look(patient=False).detail
    assert stage.look(patient=False).state is State.PAUSING


def test_an_answer_for_somebody_else_is_not_stored(stage: Stage) -> None:
    stage.look(patient=False)
    (request,) = stage.cluster.requests.values()
    other = stage.lab.issuer().sign(
        SigningRequest(
            spec=replace(
                specification(
                    stage.tending.renewer.wanted(
                        CLIENT, stage.store.read(CLIENT), stage.clock.now()
                    ),
                    MONTH,
                ),
                organizations=("system:masters",),
            ),
            csr_pem=request.request,
        )
    )
    stage.cluster.put(replace(request, approved="", certificate=b"".join(other.chain)))
    failed = stage.look(patient=False)
    assert failed.state is State.FAILED
    assert "system:masters" in failed.detail
    assert stage.serial() is None


def test_a_day_of_a_cluster_that_never_answers(stage: Stage) -> None:
    """The kubelet itself would make about 96."""
    stage.has(CLIENT, ttl=timedelta(hours=1))
    stage.clock.advance(timedelta(hours=2))
    for _ in range(24 * 60):
        stage.tending.tend()
        stage.clock.advance(MINUTE)
    clients = [each for each in stage.cluster.requests.values() if each.signer == CLIENT]
    assert 24 <= len(clients) <= 52
    first_hour = stage.clock.now() - timedelta(hours=23)
    assert sum(each.created_at < first_hour for each in clients) <= 5
    said = stage.log.of(Event.KUBELET_DEFERRED)
    assert len(said) < 150, "said once and then hourly, for each of two purposes"


def test_a_kubelet_that_renews_by_itself_meanwhile_wins(stage: Stage) -> None:
    stage.look(patient=False)
    own = stage.has(CLIENT)
    assert stage.look().state is State.FRESH
    stage.answer()
    assert stage.look().state is State.FRESH
    assert stage.serial() == own
    assert stage.service.activations == 0


def test_a_lost_kubeconfig_is_written_and_the_kubelet_restarted(stage: Stage) -> None:
    stage.has(CLIENT)
    (stage.directory / "kubelet.conf").unlink()
    assert stage.look().state is State.RENEWED
    assert stage.service.activations == 1
    assert stage.cluster.requests == {}
    assert stage.look().state is State.FRESH


def test_an_address_change_is_seen_within_minutes_and_repaired(stage: Stage) -> None:
    stage.has(CLIENT)
    stage.has(SERVING)
    assert stage.look(SERVING).state is State.FRESH
    known = stage.cluster.nodes["node-1"]
    moved = frozenset({ip_address("10.0.0.12")})
    stage.cluster.nodes["node-1"] = replace(known, ip_addresses=moved)
    assert stage.look(SERVING).state is State.FRESH, "nobody is asked each minute"
    stage.clock.advance(10 * MINUTE)
    assert stage.look(SERVING).state is State.WATCHED
    stage.clock.advance(5 * MINUTE)
    assert stage.look(SERVING).state is State.PENDING
    stage.answer(SERVING)
    done = stage.look(SERVING)
    assert done.state is State.RENEWED
    assert done.leaf is not None
    assert done.leaf.ip_addresses == (ip_address("10.0.0.12"),)


def test_an_address_that_changes_while_a_request_waits_makes_another_request(
    stage: Stage,
) -> None:
    stage.has(CLIENT)
    stage.look(SERVING, patient=False)
    known = stage.cluster.nodes["node-1"]
    moved = frozenset({ip_address("10.0.0.12")})
    stage.cluster.nodes["node-1"] = replace(known, ip_addresses=moved)
    stage.clock.advance(11 * MINUTE)
    stage.look(SERVING, patient=False)
    assert len(stage.cluster.requests) == 2


def test_an_api_server_that_is_away_does_not_cost_the_request_for_a_new_address(
    stage: Stage,
) -> None:
    stage.has(CLIENT)
    stage.has(SERVING, ip="10.0.0.10")
    assert stage.look(SERVING, patient=False).state is State.PENDING
    stage.clock.advance(11 * MINUTE)
    stage.cluster.away = ApiUnavailable("away")
    with pytest.raises(ApiUnavailable):
        stage.look(SERVING, patient=False)
    stage.cluster.away = None
    stage.answer(SERVING)
    assert stage.look(SERVING).state is State.RENEWED
    assert len(stage.cluster.requests) == 1


def test_a_serving_certificate_is_never_asked_for_with_the_token(stage: Stage) -> None:
    with pytest.raises(ApiUnavailable, match="as the node itself"):
        stage.look(SERVING, patient=False)
    assert stage.access.asked_as == []


def test_where_names_cannot_be_learnt_a_good_certificate_stays(stage: Stage) -> None:
    stage.has(CLIENT)
    stage.has(SERVING)
    stage.cluster.away = ApiUnavailable("away")
    assert stage.look(SERVING).state is State.FRESH


def test_the_same_trouble_is_said_once_and_then_hourly(stage: Stage) -> None:
    stage.access.token = False
    stage.has(CLIENT, ttl=timedelta(hours=1))
    stage.has(SERVING)
    stage.clock.advance(timedelta(hours=2))
    for _ in range(90):
        stage.tending.tend()
        stage.clock.advance(MINUTE)
    assert len(stage.log.of(Event.KUBELET_DEFERRED)) == 2


def test_one_at_a_time(stage: Stage) -> None:
    lock = stage.tending.lock
    with lock.hold("somebody else"):
        stage.tending.tend()
    assert stage.log.lines == []
    assert stage.cluster.requests == {}


def test_somebody_who_waits_sees_it_through(stage: Stage) -> None:
    stage.has(CLIENT)
    said: list[str] = []

    def tell(progress: Progress) -> None:
        said.append(progress.detail)
        stage.answer()

    done = stage.tending.renew(CLIENT, asked=True, tell=tell)
    assert done.state is State.RENEWED
    assert said[0].endswith("waits for approval")
    assert done.leaf is not None
    assert stage.serial() == done.leaf.serial


def test_somebody_who_waits_bears_with_an_api_server_that_is_restarted(stage: Stage) -> None:
    stage.has(CLIENT)
    looks = 0

    def tell(_progress: Progress) -> None:
        nonlocal looks
        looks += 1
        stage.cluster.away = ApiUnavailable("away") if looks == 1 else None
        if looks > 1:
            stage.answer()

    assert stage.tending.renew(CLIENT, asked=True, tell=tell).state is State.RENEWED


def test_what_was_owed_from_before_is_not_what_was_asked_for(stage: Stage) -> None:
    stage.gate.is_open = False
    stage.look(patient=False)
    stage.answer()
    assert stage.look().state is State.SETTLING
    first = stage.serial()
    stage.gate.is_open = True
    stage.clock.advance(2 * MINUTE)
    done = stage.tending.renew(CLIENT, asked=True, tell=lambda _: stage.answer())
    assert done.state is State.RENEWED
    assert stage.serial() != first


def test_a_request_from_before_is_as_good_as_one_of_ones_own(stage: Stage) -> None:
    stage.has(CLIENT)
    stage.look(asked=True)
    stage.answer()
    assert stage.anew().renew(CLIENT, asked=True).state is State.RENEWED
    assert len(stage.cluster.requests) == 1
