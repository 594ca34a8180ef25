"""The health of an etcd member and its cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.adapters.probes.connection import TIMEOUT, Unusable
from certrotd.adapters.probes.etcd.client import Access, Status, Unanswered
from certrotd.adapters.probes.etcd.cluster import look
from certrotd.core.model import Evidence

if TYPE_CHECKING:
    from certrotd.adapters.probes.etcd.cluster import Cluster
    from certrotd.core.model import Output


@dataclass(frozen=True, slots=True)
class EtcdGate:
    """The member at `endpoint` (`host:port`) and its whole cluster are well.

    A quorum confirms the member list; every member was started, votes, answers at its client URLs,
    sees the same leader and is at most LAG raft entries behind; no alarm is raised. That is more
    than etcd's `/health` asks for (a read through a quorum, no alarm), so that is not asked.

    Degraded: all that is wrong concerns other members, and a quorum stands. `ca_file` is what all
    members' certificates must build to, `client` the outputs of the pair to present.
    """

    endpoint: str
    ca_file: str
    client: tuple[Output, ...]
    timeout: float = TIMEOUT

    def check(self) -> Evidence:
        """Look once."""
        try:
            cluster = look(self.endpoint, Access(self.ca_file, self.client), self.timeout)
        except Unusable as e:
            return self._evidence(str(e))
        except Unanswered as e:
            return self._evidence(str(e), reachable=e.reachable)
        return self._judge(cluster)

    def _judge(self, cluster: Cluster) -> Evidence:
        own = [each for each in cluster.members if each.number == cluster.here]
        ours = [fault for each in own for fault in cluster.faults_of(each)]
        ours += cluster.common_faults()
        if not own:
            ours.append("the member list does not have it")
        others = [
            fault
            for each in cluster.members
            if each.number != cluster.here
            for fault in cluster.faults_of(each)
        ]
        detail = "; ".join([_summary(cluster), *ours, *others])
        return self._evidence(
            detail,
            holds=not ours and not others,
            degraded=bool(others) and not ours,
            leads=cluster.leads,
        )

    def _evidence(
        self,
        detail: str,
        *,
        holds: bool = False,
        reachable: bool = True,
        degraded: bool = False,
        leads: bool = False,
    ) -> Evidence:
        return Evidence(
            source=f"etcd {self.endpoint}",
            holds=holds,
            detail=f"{self.endpoint}: {detail}",
            reachable=reachable,
            degraded=degraded,
            leads=leads,
        )


def _summary(cluster: Cluster) -> str:
    told = f"member {cluster.name(cluster.here)} of {len(cluster.members)}"
    own = cluster.own
    if not isinstance(own, Status) or not own.leader:
        return told
    return f"{told}, leader {cluster.name(own.leader)}, raft index {own.index}"
