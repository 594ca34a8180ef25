"""What the answers of etcd's members mean together, and who is not asked at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.probes.etcd import EtcdGate
from certrotd.adapters.probes.etcd.client import Listed, Status, Unanswered
from certrotd.adapters.probes.etcd.cluster import LAG, Cluster
from tests.adapters.listeners import Listener, TlsServer, lab_of_today, put
from tests.factories import make_client_spec, make_spec

if TYPE_CHECKING:
    from pathlib import Path


def cluster_of(*statuses: Status | Unanswered) -> Cluster:
    members = tuple(
        Listed(number=number, name=f"m{number}", urls=("https://x",), learner=False)
        for number in range(1, len(statuses) + 1)
    )
    return Cluster(here=1, members=members, quorum="", statuses=dict(enumerate(statuses, start=1)))


def status_of(number: int, *, applied: int, leader: int = 1) -> Status:
    return Status(
        number=number,
        version="3.6.16",
        leader=leader,
        index=applied,
        applied=applied,
        learner=False,
        errors=(),
    )


def test_a_member_far_behind_is_a_fault_and_no_successor() -> None:
    cluster = cluster_of(
        status_of(1, applied=5000), status_of(2, applied=5000 - LAG - 1), status_of(3, applied=4000)
    )
    told = [cluster.faults_of(each) for each in cluster.members]
    assert told == [(), (f"m2 is {LAG + 1} raft entries behind",), ()]
    assert cluster.successor() == 3


def test_a_member_that_follows_another_leader_is_a_fault() -> None:
    cluster = cluster_of(status_of(1, applied=9), status_of(2, applied=9, leader=2))
    assert cluster.faults_of(cluster.members[1]) == ("m2 sees another leader (m2)",)
    assert cluster.successor() is None


def test_somebody_else_at_the_address_is_told(tmp_path: Path) -> None:
    lab = lab_of_today()
    server = put(lab.issue(make_spec(tmp_path)))
    client = put(lab.issue(make_client_spec(tmp_path)))
    ca = server.spec.outputs[2].path
    with Listener(TlsServer(server)) as listener:
        evidence = EtcdGate(listener.address, ca, client.spec.outputs).check()
    assert not evidence.holds
    assert not evidence.degraded
    assert evidence.detail.startswith(f"{listener.address}: ")


@pytest.mark.parametrize("missing", ["client.key", "server-ca.crt"])
def test_files_that_are_missing_are_told(tmp_path: Path, missing: str) -> None:
    lab = lab_of_today()
    server = put(lab.issue(make_spec(tmp_path)))
    client = put(lab.issue(make_client_spec(tmp_path)))
    (tmp_path / missing).unlink()
    ca = server.spec.outputs[2].path
    evidence = EtcdGate("127.0.0.1:1", ca, client.spec.outputs).check()
    assert not evidence.holds
    assert f"{tmp_path / missing} cannot be read" in evidence.detail
