"""The etcd gate and the leader's move against real clusters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.probes.etcd import EtcdGate, LeaderMovedFirst
from certrotd.core.errors import ActivationFailed
from certrotd.core.model import KeyAlgorithm, Usage
from certrotd.ports import Event
from tests.adapters.listeners import lab_of_today, put
from tests.factories import SERVER, make_client_spec, make_outputs, make_spec
from tests.fakes.log import RecordingLog
from tests.fakes.service import FakeService
from tests.testbed.etcdcluster import EtcdCluster
from tests.testbed.throwaway import ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from certrotd.core.model import Output

TROUBLE = 10.0
"""How long, in seconds, a cluster may take to notice what was done to it."""

servers = pytest.mark.servers


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """Three members; a test that stops one starts it again."""
    with EtcdCluster(tmp_path_factory.mktemp("etcd"), 3) as cluster:
        yield cluster


@pytest.fixture
def whole(trio: EtcdCluster) -> Iterator[EtcdCluster]:
    """Three members, all up before and after."""
    yield trio
    trio.start()


@pytest.fixture
def single(tmp_path: Path) -> Iterator[EtcdCluster]:
    with EtcdCluster(tmp_path, 1) as cluster:
        yield cluster


def client_of(cluster: EtcdCluster, name: str = "client") -> tuple[Output, ...]:
    return make_outputs(cluster.directory, name)[:2]


def gate(cluster: EtcdCluster, index: int) -> EtcdGate:
    return EtcdGate(cluster.endpoint(index), str(cluster.ca_file), client_of(cluster))


def mover(
    cluster: EtcdCluster, index: int, service: FakeService, log: RecordingLog
) -> LeaderMovedFirst:
    return LeaderMovedFirst(
        service,
        cluster.endpoint(index),
        str(cluster.ca_file),
        client_of(cluster),
        log=log,
        component="etcd",
    )


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + TROUBLE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


@servers
def test_a_whole_cluster_holds_and_exactly_one_member_leads(whole: EtcdCluster) -> None:
    seen = [gate(whole, index).check() for index in range(3)]
    assert [each.holds for each in seen] == [True] * 3
    assert [index for index in range(3) if seen[index].leads] == [whole.leader()]
    assert not any(each.degraded for each in seen)
    leader = f"leader m{whole.leader()}"
    assert f"{whole.endpoint(1)}: member m1 of 3, {leader}, raft index " in seen[1].detail


@servers
def test_a_cluster_of_one_holds_and_leads(single: EtcdCluster) -> None:
    evidence = gate(single, 0).check()
    assert evidence.holds
    assert evidence.leads


@servers
def test_one_member_down_is_degraded_until_it_is_back(whole: EtcdCluster) -> None:
    down = (whole.leader() + 1) % 3
    asked = whole.leader()
    whole.members[down].stop()
    evidence = gate(whole, asked).check()
    assert not evidence.holds
    assert evidence.degraded
    assert evidence.leads
    assert f"m{down}: {whole.endpoint(down)}: connection refused" in evidence.detail
    whole.members[down].start()
    whole.wait_ready(down)
    eventually(lambda: gate(whole, asked).check().holds)


@servers
def test_the_member_itself_down_is_not_merely_degraded(whole: EtcdCluster) -> None:
    whole.members[0].stop()
    evidence = gate(whole, 0).check()
    assert not evidence.holds
    assert not evidence.degraded
    assert not evidence.reachable


@servers
def test_two_of_three_down_is_no_quorum(whole: EtcdCluster) -> None:
    for index in (1, 2):
        whole.members[index].stop()
    eventually(lambda: "knows of no leader" in gate(whole, 0).check().detail)
    evidence = gate(whole, 0).check()
    assert not evidence.holds
    assert not evidence.degraded
    assert not evidence.leads
    assert "no quorum: " in evidence.detail


@servers
def test_a_member_that_hangs_is_waited_for_within_bounds(whole: EtcdCluster) -> None:
    leader = whole.leader()
    frozen = (leader + 1) % 3
    whole.members[frozen].send(signal.SIGSTOP)
    try:
        began = time.monotonic()
        evidence = gate(whole, leader).check()
        took = time.monotonic() - began
        itself = gate(whole, frozen).check()
    finally:
        whole.members[frozen].send(signal.SIGCONT)
    assert evidence.degraded
    assert f"m{frozen}: {whole.endpoint(frozen)}: no answer within 1.5 s" in evidence.detail
    assert took < 5
    assert not itself.holds
    assert not itself.degraded


@servers
def test_a_learner_has_no_vote_and_is_told(single: EtcdCluster) -> None:
    learner = single.add_learner()
    evidence = gate(single, 0).check()
    assert not evidence.holds
    assert evidence.degraded
    assert f"m{learner} is a learner" in evidence.detail
    itself = gate(single, learner).check()
    assert not itself.holds
    assert not itself.degraded
    assert "learner" in itself.detail


@servers
def test_a_member_that_never_came_is_told(single: EtcdCluster) -> None:
    single.ctl(0, "member", "add", "m1", "--learner", "--peer-urls=https://127.0.0.1:1")
    evidence = gate(single, 0).check()
    assert evidence.degraded
    assert "was never started" in evidence.detail


@servers
def test_a_member_that_names_another_s_address_is_told(tmp_path: Path) -> None:
    cluster = EtcdCluster(tmp_path, 2)
    taken = cluster.endpoint(0)
    cluster.members[1].argv.append(f"--advertise-client-urls=https://{taken}")
    with cluster:
        evidence = gate(cluster, 0).check()
    assert not evidence.holds
    assert evidence.degraded
    assert f"m1: {taken}: another member answers" in evidence.detail


@servers
def test_an_exhausted_quota_raises_an_alarm_that_closes_the_gate(tmp_path: Path) -> None:
    with EtcdCluster(tmp_path, 1, arguments=("--quota-backend-bytes=16384",)) as cluster:
        assert gate(cluster, 0).check().holds
        with pytest.raises(AssertionError, match="database space exceeded"):
            cluster.ctl(0, "put", "key", "value")
        evidence = gate(cluster, 0).check()
    assert not evidence.holds
    assert not evidence.degraded
    assert evidence.detail.endswith("alarm NOSPACE of m0")


@servers
def test_looking_writes_nothing_to_the_raft_log(whole: EtcdCluster) -> None:
    details = {gate(whole, 0).check().detail for _ in range(5)}
    assert len(details) == 1


@servers
@pytest.mark.parametrize("key", list(KeyAlgorithm))
def test_every_kind_of_key_is_accepted(
    single: EtcdCluster, tmp_path: Path, key: KeyAlgorithm
) -> None:
    lab = lab_of_today()
    spec = make_client_spec(tmp_path, f"client-{key}", key=key)
    put(lab.issue(spec))
    bundle = single.ca_file
    bundle.write_bytes(single.ca.pem + lab.certificate)
    single.members[0].restart()
    single.wait_ready()
    evidence = replace(gate(single, 0), client=spec.outputs[:2]).check()
    assert evidence.holds, evidence.detail


@servers
def test_an_ed25519_server_is_told_as_what_it_is(tmp_path: Path) -> None:
    lab = lab_of_today()
    spec = make_spec(tmp_path, key=KeyAlgorithm.ED25519, usages=(*SERVER, Usage.CLIENT_AUTH))
    put(lab.issue(spec))
    cluster = EtcdCluster(tmp_path, 1)
    cluster.ca_file.write_bytes(cluster.ca.pem + lab.certificate)
    for name in ("server.crt", "server.key"):
        (tmp_path / "m0" / name).write_bytes((tmp_path / name).read_bytes())
    with cluster:
        evidence = gate(cluster, 0).check()
    assert not evidence.holds
    assert evidence.detail.endswith("its certificate's key is Ed25519, which gRPC cannot verify")


@servers
def test_an_ipv6_member_is_verified_by_its_address(tmp_path: Path) -> None:
    with EtcdCluster(tmp_path, 1, host="::1") as cluster:
        evidence = gate(cluster, 0).check()
    assert evidence.holds, evidence.detail


@servers
def test_many_looks_leave_nothing_open(single: EtcdCluster) -> None:
    def descriptors() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    asked = gate(single, 0)
    assert asked.check().holds
    before = descriptors()
    for _ in range(50):
        assert asked.check().holds
    assert descriptors() <= before + 8  # gRPC keeps some of its own for a while


@servers
def test_a_ca_that_did_not_sign_the_member_is_told(single: EtcdCluster, tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    other.write_bytes(ThrowawayCA.new("other").pem)
    evidence = replace(gate(single, 0), ca_file=str(other)).check()
    assert not evidence.holds
    assert "its certificate is not trusted: " in evidence.detail


@servers
def test_a_client_that_etcd_does_not_trust_is_told(single: EtcdCluster, tmp_path: Path) -> None:
    ThrowawayCA.new("other").issue("x", client=True).write(tmp_path / "x.crt", tmp_path / "x.key")
    evidence = replace(gate(single, 0), client=make_outputs(tmp_path, "x")[:2]).check()
    assert not evidence.holds
    assert evidence.detail == f"{single.endpoint(0)}: TLS: tlsv1 alert unknown ca"


ONE_LOOK = """
import sys
from pathlib import Path
from certrotd.adapters.probes.etcd import EtcdGate
from tests.factories import make_outputs
endpoint, ca, directory = sys.argv[1:]
print(EtcdGate(endpoint, ca, make_outputs(Path(directory), "client")[:2]).check().holds)
"""


@servers
def test_standard_error_stays_clean(single: EtcdCluster, tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    other.write_bytes(ThrowawayCA.new("other").pem)
    # A process of its own, as grpc's library reads how much it may say once, when it is loaded.
    done = subprocess.run(
        [sys.executable, "-c", ONE_LOOK, single.endpoint(0), other, single.directory],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


class Restarting(FakeService):
    """Notes which member leads when it is told to restart."""

    def __init__(self, cluster: EtcdCluster) -> None:
        super().__init__()
        self.cluster = cluster
        self.led: list[int] = []

    def activate(self) -> None:
        self.led.append(self.cluster.leader())
        super().activate()


@servers
def test_the_leader_hands_over_before_it_is_restarted(whole: EtcdCluster) -> None:
    eventually(lambda: gate(whole, whole.leader()).check().holds)
    leader, log, service = whole.leader(), RecordingLog(), Restarting(whole)
    mover(whole, leader, service, log).activate()
    assert service.led == [whole.leader()]
    assert whole.leader() != leader
    (told,) = log.of(Event.LEADER_MOVED)
    assert (told["component"], told["old"]) == ("etcd", f"m{leader}")
    assert told["new"] == f"m{whole.leader()}"
    assert told["duration"] < 5
    assert log.events == [Event.LEADER_MOVED]


@servers
def test_a_follower_is_restarted_without_more_ado(whole: EtcdCluster) -> None:
    leader, log, service = whole.leader(), RecordingLog(), Restarting(whole)
    mover(whole, (leader + 1) % 3, service, log).activate()
    assert service.led == [leader]
    assert log.events == []


@servers
def test_the_only_member_has_nobody_to_hand_over_to(single: EtcdCluster) -> None:
    log, service = RecordingLog(), Restarting(single)
    mover(single, 0, service, log).activate()
    assert service.led == [0]
    assert log.events == []


@servers
def test_a_leader_without_a_fit_successor_is_restarted_all_the_same(tmp_path: Path) -> None:
    nowhere = "--advertise-client-urls=https://127.0.0.1:1"
    log = RecordingLog()
    with EtcdCluster(tmp_path, 2, arguments=(nowhere,)) as cluster:
        leader = cluster.leader()
        assert gate(cluster, leader).check().degraded
        service = Restarting(cluster)
        mover(cluster, leader, service, log).activate()
    assert service.led == [leader]
    (told,) = log.of(Event.LEADER_STAYED)
    assert told["detail"].endswith("no other voter is fit to lead")


def test_an_etcd_that_cannot_be_asked_is_restarted_all_the_same(tmp_path: Path) -> None:
    lab = lab_of_today()
    client = put(lab.issue(make_client_spec(tmp_path)))
    log, service = RecordingLog(), FakeService()
    ca = client.spec.outputs[2].path
    LeaderMovedFirst(service, "127.0.0.1:1", ca, client.spec.outputs, log=log).activate()
    assert service.activations == 1
    (told,) = log.of(Event.LEADER_STAYED)
    assert told["detail"] == "127.0.0.1:1: connection refused"


def test_all_else_is_left_to_the_service(tmp_path: Path) -> None:
    service = FakeService()
    service.failures = 1
    moved = LeaderMovedFirst(
        service, "127.0.0.1:1", "/none", make_outputs(tmp_path), log=RecordingLog()
    )
    assert moved.state() is service.state()
    assert moved.started() == service.started()
    with pytest.raises(ActivationFailed):
        moved.activate()
