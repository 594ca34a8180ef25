"""The guard over fakes: every concern, and none where all is well."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from certrotd.core.errors import ApiRefused
from certrotd.core.model.kubelets import ApprovalPolicy, BootstrapToken, KubeletEndpoint, Purpose
from certrotd.core.x509 import parse_certificate
from certrotd.kubelets.concerns import Concern, Ending, Figures, Level, Rule
from certrotd.kubelets.guarding import Duties, Guard
from tests.factories import Lab
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster, FakeHandshakes, FakeInspection, FakeSigningRequests
from tests.unit.requests_of_kubelets import pem, submitted

if TYPE_CHECKING:
    from collections.abc import Callable

    from certrotd.core.model import ParsedCertificate

GROUP = "system:bootstrappers:workers"
HOUR = timedelta(hours=1)
OURS = ApprovalPolicy(bootstrap_groups=frozenset({GROUP}))
THEIRS = ApprovalPolicy(purposes=frozenset({Purpose.SERVING}))


class Scene:
    """A cluster in which all is well, until a test changes it."""

    def __init__(self, policy: ApprovalPolicy = OURS) -> None:
        self.clock = FakeClock()
        self.now = self.clock.now()
        self.all = FakeCluster(self.clock)
        self.handshakes = FakeHandshakes()
        self.all.rights = {
            ("system:nodes", ""), (GROUP, ""),
            ("system:nodes", "selfnodeclient"), (GROUP, "nodeclient"),
        }  # fmt: skip
        self.all.tokens = (self.token(),)
        self.duties = Duties(
            policy=policy,
            signs=True,
            life=timedelta(days=30),
            bootstrap_group=GROUP,
            pending_warning=HOUR / 4,
            pending_critical=HOUR,
        )
        self.ca: Callable[[], tuple[ParsedCertificate, ...]] = lambda: (
            parse_certificate(Lab(self.now).certificate),
        )

    def token(self, **changes: Any) -> BootstrapToken:
        made = BootstrapToken(
            name="abcdef", ends=self.now + HOUR, authenticates=True, groups=(GROUP,)
        )
        return replace(made, **changes)

    def put(self, age: timedelta, count: int = 1, **changes: Any) -> None:
        for _ in range(count):
            number = len(self.all.requests)
            made = submitted(pem(), name=f"csr-{number}", created_at=self.now - age)
            self.all.put(replace(made, **changes))

    def guard(self) -> Guard:
        return Guard(
            FakeSigningRequests(self.all),
            FakeInspection(self.all),
            self.handshakes,
            self.ca,
            self.duties,
        )

    def look(self) -> tuple[tuple[Concern, ...], Figures]:
        guard = self.guard()
        return guard.look(self.now), guard.figures

    def only(self) -> Concern:
        """The one concern there is; whatever it is, it says what to do."""
        (found,), _ = self.look()
        assert found.fix
        return found


@pytest.mark.parametrize("policy", [OURS, THEIRS])
def test_nothing_is_said_where_all_is_well(policy: ApprovalPolicy) -> None:
    scene = Scene(policy)
    scene.put(timedelta(minutes=1))
    scene.put(HOUR / 2, 3, approved="by certrotd", certificate=b"PEM")
    found, figures = scene.look()
    assert found == ()
    assert figures == Figures(pending=1, oldest_pending=60.0, issued=3, approved=3, signed=3)


@pytest.mark.parametrize(("minutes", "level"), [(20, Level.WARNING), (70, Level.CRITICAL)])
def test_requests_that_wait_for_a_verdict(minutes: int, level: Level) -> None:
    scene = Scene()
    assert scene.look()[1].oldest_pending == 0
    scene.put(timedelta(minutes=minutes))
    scene.put(timedelta(minutes=16))
    assert scene.look()[1].oldest_pending == minutes * 60
    found = scene.only()
    assert found.level is level
    assert "2 requests wait for a verdict, csr-0 of system:node:node-1" in found.text
    assert f"for {minutes} minutes" in found.text
    assert "approve --dry-run" in found.fix


@pytest.mark.parametrize(("signs", "fix"), [(True, "signing_failed"), (False, "--cluster-signing")])
def test_approved_requests_that_nobody_signs(fix: str, *, signs: bool) -> None:
    scene = Scene()
    scene.duties = replace(scene.duties, signs=signs)
    scene.put(HOUR, approved="yes", approved_at=scene.now - timedelta(minutes=6))
    found = scene.only()
    assert (found.level, fix in found.fix) == (Level.CRITICAL, True)


def test_denials_and_failures_of_the_last_hour() -> None:
    scene = Scene()
    scene.put(HOUR / 2, denied="O is [system:masters]")
    scene.put(HOUR * 2, failed="long ago")
    found = scene.only()
    assert found.level is Level.WARNING
    assert "1 requests were denied or failed" in found.text
    assert "O is [system:masters]" in found.text
    figures = scene.look()[1]
    assert (figures.denied, figures.failed, figures.refused) == (1, 1, 1)


def test_a_node_that_asks_again_and_again() -> None:
    scene = Scene()
    scene.put(HOUR / 2, 21, approved="yes", certificate=b"PEM")
    assert "system:node:node-1 asked 21 times" in scene.only().text


def test_approvals_past_the_policy() -> None:
    message = "Auto approving kubelet client certificate after SubjectAccessReview."
    scene = Scene()
    scene.put(HOUR / 2, approved=message, certificate=b"PEM")
    assert "-certificatesigningrequest-approving-controller" in scene.only().fix
    scene.duties = replace(scene.duties, policy=THEIRS)
    assert scene.look()[0] == ()


@pytest.mark.parametrize(("policy", "right", "role"), [
    (OURS, ("system:nodes", ""), "system:node-bootstrapper"),
    (OURS, (GROUP, ""), "system:node-bootstrapper"),
    (THEIRS, ("system:nodes", "selfnodeclient"), ":selfnodeclient"),
    (THEIRS, (GROUP, "nodeclient"), ":nodeclient"),
])  # fmt: skip
def test_a_right_that_is_missing(policy: ApprovalPolicy, right: tuple[str, str], role: str) -> None:
    scene = Scene(policy)
    scene.all.rights.remove(right)
    found = scene.only()
    assert found.level is Level.CRITICAL
    assert right[0] in found.text
    assert role in found.fix
    assert f"--group={right[0]}" in found.fix


def test_tokens_that_never_end_and_tokens_that_have() -> None:
    scene = Scene()
    scene.all.tokens = (scene.token(ends=None),)
    assert "never ends" in scene.only().text
    for token in (
        scene.token(ends=scene.now),
        scene.token(authenticates=False),
        scene.token(groups=("system:bootstrappers:others",)),
    ):
        scene.all.tokens = (token,)
        assert "no bootstrap token" in scene.only().text
    scene.duties = replace(scene.duties, policy=ApprovalPolicy())
    assert scene.look()[0] == ()


@pytest.mark.parametrize(("days", "level"), [(20, Level.WARNING), (10, Level.CRITICAL)])
def test_a_signing_ca_that_ends_before_its_certificates(days: int, level: Level) -> None:
    scene = Scene()
    ca = replace(*scene.ca(), not_after=scene.now + timedelta(days=days))
    scene.ca = lambda: (ca,)
    assert scene.only().level is level
    scene.ca = lambda: ()
    assert "not known" in scene.only().text


@pytest.mark.parametrize(("left", "level"), [
    (timedelta(days=20), None), (timedelta(hours=1), Level.WARNING),
    (timedelta(0), Level.CRITICAL), (timedelta(days=-3), Level.CRITICAL),
])  # fmt: skip
def test_what_kubelets_present(left: timedelta, level: Level | None) -> None:
    scene = Scene()
    names = ("node-1", "node-2", "away")
    scene.all.kubelets = tuple(
        KubeletEndpoint(node=each, address="10.0.0.1", port=10250) for each in names
    )
    (leaf,) = scene.ca()
    fresh = replace(leaf, not_before=scene.now, not_after=scene.now + timedelta(days=30))
    begin = scene.now - timedelta(days=30)
    other = replace(leaf, not_before=begin, not_after=scene.now + left)
    scene.handshakes.leaves = {"node-1": fresh, "node-2": other}
    found, figures = scene.look()
    assert (figures.kubelets, figures.unread) == (3, 1)
    if level is None:
        assert found == ()
    else:
        assert scene.only().level is level
        assert "of node-2 " in scene.only().text


def test_when_what_was_seen_ends() -> None:
    scene = Scene()
    scene.all.kubelets = tuple(
        KubeletEndpoint(node=each, address="10.0.0.1", port=10250) for each in ("node-1", "away")
    )
    (ca,) = scene.ca()
    scene.handshakes.leaves = {"node-1": replace(ca, not_after=scene.now + timedelta(days=40))}
    guard = scene.guard()
    for _ in range(2):
        guard.look(scene.now)
        assert guard.endings == (
            Ending(of="serving", name="node-1", at=scene.now + timedelta(days=40)),
            Ending(of="signing_ca", name="lab root", at=ca.not_after),
        )


def test_what_may_not_be_looked_at_is_no_good_news() -> None:
    scene = Scene()
    scene.all.away = ApiRefused("forbidden", status=403, hint="a role")
    found, _ = scene.look()
    assert [each.level for each in found] == [Level.UNKNOWN] * 4
    assert {each.fix for each in found} == {"a role"}
    assert {each.rule for each in found} == {
        Rule.REQUESTS, Rule.RIGHTS, Rule.TOKENS, Rule.SERVING,
    }  # fmt: skip
