"""What every port of the kubelets' path does: the fake one, and a real kube-apiserver."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.clock import SystemClock
from certrotd.adapters.kubernetes import (
    ApiNodes,
    ApiSigningRequests,
    ClusterInspection,
    EventRecorder,
    LeaseLeadership,
)
from certrotd.core.errors import ApiUnavailable, TransientError
from certrotd.core.model.kubelets import (
    BootstrapToken,
    KubeletEndpoint,
    NodeFacts,
    Purpose,
    Ruling,
    Verdict,
)
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import (
    FakeCluster,
    FakeInspection,
    FakeLeadership,
    FakeNodes,
    FakeRecorder,
    FakeSigningRequests,
)
from tests.kubelets.lab import CSRS_PATH, KubeletLab
from tests.testbed.throwaway import ThrowawayCA
from tests.unit.requests_of_kubelets import CLIENT, pem, submitted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certrotd.ports.kubelets import Inspection, Leadership, Nodes, SigningRequests

YES = Verdict(ruling=Ruling.APPROVED, rule="all", detail="node node-1")
NO = Verdict(ruling=Ruling.DENIED, rule="subject", detail="O is [system:masters]")
BOTH = pytest.mark.parametrize("cluster", ["fake", pytest.param("real", marks=pytest.mark.servers)],
                               indirect=True)  # fmt: skip
CERTIFICATE = ThrowawayCA.new("some CA").pem
_numbers = itertools.count(1)


def name() -> str:
    return f"csr-{next(_numbers)}"


@dataclass
class Fake:
    """All in memory."""

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.all = FakeCluster(self.clock)
        node = NodeFacts(
            name="node-1",
            exists=True,
            dns_names=frozenset({"node-1", "node-1.example"}),
            ip_addresses=frozenset({ip_address("10.0.0.11"), ip_address("fd00::11")}),
            last_seen=self.clock.now(),
        )
        self.all.nodes = {
            "node-1": node,
            "gone": replace(node, name="gone", last_seen=datetime(2026, 11, 24, 6, tzinfo=UTC)),
        }
        self.nodes: Nodes = FakeNodes(self.all)
        self.recorder = FakeRecorder(self.all)
        self.all.rights = {("system:nodes", "")}
        self.inspection: Inspection = FakeInspection(self.all)

    def asking(self) -> SigningRequests:
        return FakeSigningRequests(self.all)

    def approving(self) -> SigningRequests:
        return FakeSigningRequests(self.all)

    def instance(self, identity: str) -> Leadership:
        return FakeLeadership(self.all, identity)

    def put_token(self, token: BootstrapToken) -> None:
        self.all.tokens = (token,)

    def put_kubelet(self, node: str, port: int) -> None:
        self.all.kubelets = (KubeletEndpoint(node=node, address="10.0.0.11", port=port),)

    def foreign(self, of: str) -> None:
        self.all.put(submitted(pem(), name=of, signer="example.com/other"))


@dataclass
class Real:
    """A real kube-apiserver; leases live by a clock that tests move on."""

    lab: KubeletLab

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.nodes: Nodes = ApiNodes(self.lab.admin, SystemClock())
        self.recorder = EventRecorder(self.lab.admin, SystemClock(), "test")
        self.inspection: Inspection = ClusterInspection(self.lab.admin)
        self._lease = name()

    def asking(self) -> SigningRequests:
        return self.lab.node("node-1")

    def approving(self) -> SigningRequests:
        return ApiSigningRequests(self.lab.admin)

    def instance(self, identity: str) -> Leadership:
        return LeaseLeadership(
            self.lab.admin,
            self.clock,
            name=self._lease,
            namespace="kube-system",
            identity=identity,
        )

    def put_kubelet(self, node: str, port: int) -> None:
        self.lab.node_status(node, {"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}})

    def put_token(self, token: BootstrapToken) -> None:
        self.lab.put_token(token.name, token.ends, token.groups)

    def foreign(self, of: str) -> None:
        made = self.lab.admin.call("GET", f"{CSRS_PATH}/{self._seed()}")
        made["metadata"] = {"name": of}
        made["spec"] |= {"signerName": "example.com/other"}
        self.lab.admin.call("POST", CSRS_PATH, body=made)

    def _seed(self) -> str:
        seed = name()
        self.asking().submit(seed, Purpose.CLIENT, pem(), None)
        return seed


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeletLab]:
    lab = KubeletLab(tmp_path_factory.mktemp("kubernetes"))
    try:
        lab.plane.start("etcd", "kube-apiserver")
        addresses = (
            ("Hostname", "node-1"), ("InternalDNS", "node-1.example"),
            ("InternalIP", "10.0.0.11"), ("ExternalIP", "fd00::11"),
        )  # fmt: skip
        lab.make_node("node-1", *addresses)
        lab.make_node("gone", *addresses, ready="Unknown")
        yield lab
    finally:
        lab.plane.stop()


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Fake | Real:
    return Fake() if request.param == "fake" else Real(request.getfixturevalue("lab"))


@BOTH
def test_what_was_submitted_is_there_as_the_server_saw_it(cluster: Fake | Real) -> None:
    asking, csr, called = cluster.asking(), pem(), name()
    made = asking.submit(called, Purpose.CLIENT, csr, timedelta(hours=1))
    assert asking.look(called) == made
    assert made.is_open
    assert (made.signer, made.username) == (Purpose.CLIENT.value, "system:node:node-1")
    assert "system:nodes" in made.groups
    assert (made.usages, made.lifetime, made.request) == (CLIENT, timedelta(hours=1), csr)


@BOTH
def test_rsa_keys_are_asked_for_with_key_encipherment(cluster: Fake | Real) -> None:
    made = cluster.asking().submit(name(), Purpose.SERVING, pem(), None, rsa=True)
    assert made.usages == ("digital signature", "key encipherment", "server auth")
    assert made.lifetime is None


@BOTH
def test_a_name_is_taken_once(cluster: Fake | Real) -> None:
    asking, called = cluster.asking(), name()
    asking.submit(called, Purpose.CLIENT, pem(), None)
    with pytest.raises(ApiUnavailable) as caught:
        asking.submit(called, Purpose.CLIENT, pem(), None)
    assert caught.value.status == 409


@BOTH
def test_what_is_not_there_is_none(cluster: Fake | Real) -> None:
    assert cluster.asking().look("nothing") is None


@BOTH
def test_a_stream_begins_with_all_there_is_and_goes_on_where_it_ended(cluster: Fake | Real) -> None:
    asking, approving = cluster.asking(), cluster.approving()
    first, second, other = name(), name(), name()
    asking.submit(first, Purpose.CLIENT, pem(), None)
    cluster.foreign(other)
    assert first in [each.name for each in approving.stream(1)]
    made = asking.submit(second, Purpose.SERVING, pem(), None)
    assert [each.name for each in approving.stream(1)] == [second]
    approving.approve(made, YES)
    ((changed),) = approving.stream(1)
    assert (changed.name, changed.approved) == (second, YES.detail)
    everything = [each.name for each in approving.everything()]
    assert {first, second} <= set(everything)
    assert other not in everything


@BOTH
def test_verdicts_are_written_into_the_object(cluster: Fake | Real) -> None:
    asking, approving = cluster.asking(), cluster.approving()
    good, bad = (asking.submit(name(), Purpose.CLIENT, pem(), None) for _ in range(2))
    approved = approving.approve(good, YES)
    assert approving.look(good.name) == approved
    assert (approved.approved, approved.denied, approved.is_open) == (YES.detail, None, False)
    assert approved.approved_at is not None
    approving.deny(bad, NO)
    seen = approving.look(bad.name)
    assert seen is not None
    assert (seen.approved, seen.denied) == (None, NO.detail)


@BOTH
def test_who_has_an_old_version_changes_nothing(cluster: Fake | Real) -> None:
    approving = cluster.approving()
    old = cluster.asking().submit(name(), Purpose.CLIENT, pem(), None)
    approving.deny(old, NO)
    with pytest.raises(TransientError):
        approving.approve(old, YES)
    seen = approving.look(old.name)
    assert seen is not None
    assert seen.approved is None


@BOTH
def test_a_certificate_is_delivered_whole(cluster: Fake | Real) -> None:
    approving = cluster.approving()
    made = cluster.asking().submit(name(), Purpose.CLIENT, pem(), None)
    chain = (CERTIFICATE, CERTIFICATE)
    approving.deliver(approving.approve(made, YES), chain)
    seen = approving.look(made.name)
    assert seen is not None
    assert seen.certificate == b"".join(chain)
    assert seen.approved == YES.detail


@BOTH
def test_a_failure_is_written_beside_the_approval(cluster: Fake | Real) -> None:
    approving = cluster.approving()
    made = cluster.asking().submit(name(), Purpose.CLIENT, pem(), None)
    approving.fail(approving.approve(made, YES), "the issuer said no")
    seen = approving.look(made.name)
    assert seen is not None
    assert (seen.approved, seen.failed) == (YES.detail, "the issuer said no")


@BOTH
def test_a_node_is_known_by_all_its_addresses(cluster: Fake | Real) -> None:
    facts = cluster.nodes.facts("node-1")
    assert facts.exists
    assert facts.dns_names == {"node-1", "node-1.example"}
    assert facts.ip_addresses == {ip_address("10.0.0.11"), ip_address("fd00::11")}


@BOTH
def test_a_node_that_is_not_seen_any_more_was_seen_when_that_began(cluster: Fake | Real) -> None:
    assert cluster.nodes.facts("gone").last_seen == datetime(2026, 11, 24, 6, tzinfo=UTC)


@BOTH
def test_a_node_that_is_not_there_is_a_fact_and_no_error(cluster: Fake | Real) -> None:
    assert cluster.nodes.facts("nobody") == NodeFacts(name="nobody", exists=False)


@BOTH
def test_one_of_two_leads_and_the_other_follows_at_once(cluster: Fake | Real) -> None:
    one, two = cluster.instance("one"), cluster.instance("two")
    assert one.lead()
    assert not two.lead()
    cluster.clock.sleep(5)
    assert one.lead()
    one.release()
    cluster.clock.sleep(2)
    assert two.lead()
    assert not one.lead()


@BOTH
def test_who_dies_is_followed_after_the_lease_and_not_before(cluster: Fake | Real) -> None:
    one, two = cluster.instance("one"), cluster.instance("two")
    assert one.lead()
    assert not two.lead()
    cluster.clock.sleep(14)
    assert not two.lead()
    cluster.clock.sleep(2.5)
    assert two.lead()
    assert not one.lead()


@BOTH
def test_nodes_may_ask_and_strangers_may_not(cluster: Fake | Real) -> None:
    may = cluster.inspection.may_create
    assert may("", "system:node:somebody", ("system:nodes", "system:authenticated"))
    assert not may("", "jane", ("system:authenticated",))
    assert not may("selfnodeclient", "system:node:somebody", ("system:nodes",))


@BOTH
def test_kubelets_are_found_where_their_nodes_say(cluster: Fake | Real) -> None:
    cluster.put_kubelet("node-1", 10250)
    expected = KubeletEndpoint(node="node-1", address="10.0.0.11", port=10250)
    assert cluster.inspection.kubelets() == (expected,)  # the other node never said


@BOTH
def test_a_token_is_told_without_its_secret(cluster: Fake | Real) -> None:
    token = BootstrapToken(
        name="abcdef",
        ends=datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC),
        authenticates=True,
        groups=("system:bootstrappers:workers",),
    )
    cluster.put_token(token)
    assert token in cluster.inspection.tokens()


@pytest.mark.servers
def test_an_event_is_found_where_kubectl_looks(lab: KubeletLab) -> None:
    real = Real(lab)
    made = real.asking().submit(name(), Purpose.CLIENT, pem(), None)
    real.recorder.record(made, NO)
    real.recorder.record(made, YES)
    no, yes = sorted(lab.events(made.name), key=lambda each: str(each["reason"]), reverse=True)
    assert (no["type"], no["reason"]) == ("Warning", "DeniedBySubject")
    assert no["message"] == "subject: O is [system:masters]"
    assert no["involvedObject"]["uid"] == made.uid
    assert (yes["type"], yes["reason"]) == ("Normal", "Approved")


def test_the_fake_recorder_keeps_the_verdict() -> None:
    fake = Fake()
    made = fake.asking().submit(name(), Purpose.CLIENT, pem(), None)
    fake.recorder.record(made, NO)
    assert fake.all.recorded == [(made.name, NO)]
