"""The approver over fakes: what it does about requests, and what it does when things fail."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from certrotd.adapters.ca import AuthorityIssuer
from certrotd.core.errors import ApiRefused, ApiUnavailable, IssuerRefused, IssuerUnavailable
from certrotd.core.model import IssuerName
from certrotd.core.model.kubelets import ApprovalPolicy, NodeFacts, Purpose, Ruling
from certrotd.core.x509 import parse_certificate, split_pem
from certrotd.kubelets.approving import Approver, Cluster
from certrotd.kubelets.knowing import Sources
from certrotd.kubelets.signing import Signer, Terms
from certrotd.ports import Event
from tests.factories import SKEW, Lab
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import (
    FakeCluster,
    FakeLeadership,
    FakeNodes,
    FakeRecorder,
    FakeSigningRequests,
)
from tests.fakes.log import RecordingLog
from tests.unit.requests_of_kubelets import NODE, dns, ips, pem, subject, submitted

if TYPE_CHECKING:
    from certrotd.core.model import Answer, SigningRequest
    from certrotd.core.model.kubelets import SubmittedRequest

POLICY = ApprovalPolicy()
TTL = timedelta(days=7)


@dataclass
class LabIssuer:
    """Signs with a CA; `fails` is raised in its place, `tamper` changes the specification."""

    lab: Lab
    clock: FakeClock
    fails: Exception | None = None
    tamper: dict[str, Any] = field(default_factory=dict)
    asked: int = 0

    def sign(self, request: SigningRequest) -> Answer:
        self.asked += 1
        if self.fails:
            raise self.fails
        authority = AuthorityIssuer(*self.lab.signer, self.clock.now, anchors=self.lab.anchors)
        return authority.sign(replace(request, spec=replace(request.spec, **self.tamper)))

    def anchors(self) -> tuple[bytes, ...]:
        return self.lab.anchors

    def time(self) -> None:
        return None


class Scene:
    """A cluster with node-1, and an approver."""

    def __init__(
        self, policy: ApprovalPolicy = POLICY, *, signs: bool = False, workers: int = 1
    ) -> None:
        self.workers = workers
        self.clock = FakeClock()
        self.all = FakeCluster(self.clock, nodes={"node-1": NODE})
        self.log = RecordingLog()
        self.issuer = LabIssuer(Lab(self.clock.now()), self.clock)
        self.stopped = False
        self.approver = self.instance("me", policy, signs=signs)

    def instance(self, name: str, policy: ApprovalPolicy, *, signs: bool = False) -> Approver:
        cluster = Cluster(
            requests=FakeSigningRequests(self.all),
            sources=Sources(nodes=FakeNodes(self.all)),
            recorder=FakeRecorder(self.all),
            leadership=FakeLeadership(self.all, name),
        )
        terms = {
            purpose: Terms(
                issuer=self.issuer, issuer_name=IssuerName("lab"), role="kubelet", ttl=TTL
            )
            for purpose in Purpose
        }
        return Approver(
            cluster,
            policy,
            Signer(terms, policy, self.clock, SKEW) if signs else None,
            clock=self.clock,
            log=self.log,
            alive=lambda: not self.stopped,
            workers=self.workers,
        )

    def put(self, request: SubmittedRequest, name: str = "csr-1") -> None:
        self.all.put(replace(request, name=name, uid=f"uid of {name}"))

    def now(self, name: str = "csr-1") -> SubmittedRequest:
        return self.all.requests[name]

    def wait(self, seconds: float) -> None:
        """Rounds, until so much time has passed."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.approver.round()


def test_what_is_right_is_approved_and_told() -> None:
    scene = Scene()
    scene.put(submitted(pem()))
    scene.approver.round()
    assert scene.now().approved == "node node-1, a client certificate"
    ((name, verdict),) = scene.all.recorded
    assert (name, verdict.ruling) == ("csr-1", Ruling.APPROVED)
    (line,) = scene.log.of(Event.REQUEST_APPROVED)
    assert (line["request"], line["rule"]) == ("csr-1", "all")


def test_what_can_never_be_right_is_denied_with_the_rule() -> None:
    scene = Scene()
    scene.put(submitted(pem(subject("system:node:node-2"))))
    scene.approver.round()
    assert scene.now().denied == "system:node:node-1 asks for system:node:node-2"
    ((_, verdict),) = scene.all.recorded
    assert (verdict.ruling, verdict.rule) == (Ruling.DENIED, "requester")


def test_what_is_not_right_yet_is_approved_once_it_is_and_told_twice_in_all() -> None:
    scene = Scene()
    scene.all.nodes = {}
    scene.put(submitted(pem(None, (*dns("node-1"), *ips("10.0.0.11"))), Purpose.SERVING))
    scene.wait(60)
    assert scene.now().is_open
    scene.all.nodes = {"node-1": NODE}
    scene.wait(60)
    assert scene.now().approved is not None
    assert [v.ruling for _, v in scene.all.recorded] == [Ruling.PENDING, Ruling.APPROVED]


@pytest.mark.parametrize("error", [
    ApiUnavailable("busy", status=503), ApiRefused("forbidden", status=403),
])  # fmt: skip
def test_what_cannot_be_learnt_is_never_a_denial(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene()

    def fail(_self: FakeNodes, _name: str) -> NodeFacts:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(FakeNodes, "facts", fail)
        scene.put(submitted(pem()))
        scene.wait(60)
        assert scene.now().is_open
    scene.wait(300)
    assert scene.now().approved is not None
    assert [v.rule for _, v in scene.all.recorded] == ["facts", "all"]


def test_requests_of_other_signers_are_not_touched() -> None:
    scene = Scene(replace(POLICY, purposes=frozenset({Purpose.SERVING})))
    scene.put(submitted(pem(), signer="example.com/other"), "other")
    scene.put(submitted(pem()), "client")
    before = dict(scene.all.requests)
    scene.wait(30)
    assert scene.all.requests == before
    assert scene.all.recorded == []


def test_who_follows_does_nothing_and_goes_on_when_the_leader_is_gone() -> None:
    scene = Scene()
    other = scene.instance("other", POLICY)
    other.round()
    scene.put(submitted(pem()))
    scene.approver.round()
    assert scene.now().is_open
    other.close()
    scene.approver.round()
    assert scene.now().approved is not None
    assert scene.log.events.count(Event.LEADERSHIP_TAKEN) == 2


def test_nothing_more_is_done_once_leadership_is_lost() -> None:
    scene = Scene()
    for number in range(3):
        scene.put(submitted(pem()), f"csr-{number}")
    see = scene.approver.see

    def lose(request: SubmittedRequest) -> None:
        see(request)
        scene.all.holder, scene.all.renewed = "other", scene.clock.monotonic()

    scene.approver.see = lose  # type: ignore[method-assign]
    scene.approver.round()
    assert [each.is_open for each in scene.all.requests.values()] == [False, True, True]
    assert Event.LEADERSHIP_LOST in scene.log.events


def test_a_cluster_that_is_away_is_told_once_and_asked_again() -> None:
    scene = Scene()
    scene.approver.round()
    scene.all.away = ApiUnavailable("connection refused")
    for _ in range(3):
        scene.approver.round()
    scene.put(submitted(pem()))
    scene.all.away = None
    scene.wait(30)
    assert scene.now().approved is not None
    assert scene.log.events.count(Event.CLUSTER_UNAVAILABLE) == 1


def test_a_request_that_changes_meanwhile_is_seen_again() -> None:
    scene = Scene()
    scene.put(submitted(pem()))
    stale = scene.now()
    scene.put(submitted(pem()))
    scene.approver.see(stale)
    assert scene.now().is_open
    scene.wait(10)
    assert scene.now().approved is not None


def test_a_new_leader_knows_from_the_cluster_what_was_approved() -> None:
    policy = replace(POLICY, per_hour=2)
    scene = Scene(policy)
    for number in range(2):
        scene.put(submitted(pem()), f"csr-{number}")
    scene.approver.round()
    scene.approver.close()
    scene.approver = scene.instance("new", policy)
    scene.put(submitted(pem()), "csr-2")
    scene.approver.round()
    assert scene.now("csr-2").is_open
    assert scene.all.recorded[-1][1].rule == "rate"
    scene.wait(3700)
    assert scene.now("csr-2").approved is not None


def test_a_stop_ends_a_round_after_the_request_in_hand() -> None:
    scene = Scene()
    for number in range(3):
        scene.put(submitted(pem()), f"csr-{number}")
    scene.stopped = True
    scene.approver.round()
    assert sum(each.is_open for each in scene.all.requests.values()) == 2


def test_a_defect_leaves_one_request_pending_and_the_others_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene()
    scene.put(submitted(pem(subject("system:node:odd")), username="system:node:odd"), "odd")
    scene.put(submitted(pem()), "good")
    facts = FakeNodes.facts

    def odd(self: FakeNodes, name: str) -> NodeFacts:
        return facts(self, name) if name == "node-1" else 1 / 0  # type: ignore[return-value]

    monkeypatch.setattr(FakeNodes, "facts", odd)
    scene.approver.round()
    assert scene.now("odd").is_open
    assert scene.now("good").approved is not None
    assert Event.JUDGING_FAILED in scene.log.events


def test_several_at_a_time_keep_the_rate_of_each_node() -> None:
    scene = Scene(replace(POLICY, per_hour=2), workers=4)
    for number in range(40):
        name = f"node-{number % 8}"
        scene.all.nodes[name] = replace(NODE, name=name)
        user = f"system:node:{name}"
        scene.put(submitted(pem(subject(user)), username=user), f"csr-{number}")
    scene.approver.round()
    approved = [each.username for each in scene.all.requests.values() if each.approved is not None]
    assert sorted(approved) == sorted(f"system:node:node-{n % 8}" for n in range(16))
    scene.approver.close()


def test_a_cluster_that_goes_away_meanwhile_loses_no_request() -> None:
    scene = Scene(workers=4)
    scene.approver.round()
    for number in range(6):
        scene.put(submitted(pem()), f"csr-{number}")
    see = scene.approver.see

    def fail(request: SubmittedRequest) -> None:
        scene.all.away = ApiUnavailable("connection refused")
        see(request)

    scene.approver.see = fail  # type: ignore[method-assign]
    scene.approver.round()
    scene.approver.see = see  # type: ignore[method-assign]
    scene.all.away = None
    scene.wait(120)
    assert all(each.approved is not None for each in scene.all.requests.values())
    scene.approver.close()


# --- signing


def test_what_is_approved_is_signed_exactly_and_delivered_with_its_chain() -> None:
    scene = Scene(signs=True)
    key = pem(None, (*dns("node-1"), *ips("10.0.0.11")))
    scene.put(submitted(key, Purpose.SERVING, lifetime=timedelta(hours=12)))
    scene.approver.round()
    delivered = scene.now().certificate
    assert delivered is not None
    leaf, *_ = map(parse_certificate, split_pem(delivered))
    assert (leaf.common_name, leaf.organizations) == ("system:node:node-1", ("system:nodes",))
    assert (leaf.dns_names, list(map(str, leaf.ip_addresses))) == (("node-1",), ["10.0.0.11"])
    assert leaf.extended_usages == ("server auth",)
    assert leaf.not_after - scene.clock.now() <= timedelta(hours=12)
    (line,) = scene.log.of(Event.REQUEST_SIGNED)
    assert (line["node"], line["serial"]) == ("node-1", leaf.serial)


def test_each_request_is_signed_once_although_a_watch_tells_each_step() -> None:
    scene = Scene(signs=True)
    scene.put(submitted(pem()), "before")
    scene.approver.round()
    scene.put(submitted(pem()), "later")
    scene.wait(30)
    assert scene.issuer.asked == 2
    assert Event.SIGNING_FAILED not in scene.log.events


def test_a_request_that_a_person_approved_is_signed_only_if_it_is_a_kubelets() -> None:
    scene = Scene(signs=True)
    evil = pem(subject("system:node:node-1", "system:nodes", "system:masters"))
    scene.put(submitted(evil, approved="a person said so"))
    scene.put(submitted(pem(), approved="a person said so"), "good")
    scene.approver.round()
    assert scene.now().certificate is None
    assert "subject" in (scene.now().failed or "")
    assert scene.now("good").certificate is not None
    assert scene.issuer.asked == 1


def test_another_answer_than_was_asked_for_is_not_delivered_and_given_up_in_the_end() -> None:
    scene = Scene(signs=True)
    scene.issuer.tamper = {"organizations": ("system:masters",)}
    scene.put(submitted(pem()))
    scene.wait(100)
    assert scene.now().certificate is None
    assert scene.now().failed is None
    scene.wait(1000)
    assert "organizations: expected system:nodes" in (scene.now().failed or "")
    assert scene.issuer.asked == 6
    assert scene.log.events.count(Event.SIGNING_FAILED) == 1


def test_an_issuer_that_is_away_is_waited_for_and_not_asked_for_each_request() -> None:
    scene = Scene(signs=True)
    scene.issuer.fails = IssuerUnavailable("Vault is sealed")
    for number in range(5):
        scene.put(submitted(pem()), f"csr-{number}")
    scene.approver.round()
    assert scene.issuer.asked == 1
    assert all(each.approved is not None for each in scene.all.requests.values())
    scene.wait(600)
    assert scene.issuer.asked < 100
    scene.issuer.fails = None
    scene.wait(310)
    assert all(each.certificate for each in scene.all.requests.values())
    assert not any(each.failed for each in scene.all.requests.values())


def test_a_role_that_is_mended_in_time_costs_nothing() -> None:
    scene = Scene(signs=True)
    scene.issuer.fails = IssuerRefused("the role allows no such name", status=400)
    scene.put(submitted(pem()))
    scene.wait(60)
    scene.issuer.fails = None
    scene.wait(300)
    assert scene.now().certificate is not None
    assert scene.now().failed is None
