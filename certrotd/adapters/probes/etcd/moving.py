"""Handing leadership over before an etcd member is restarted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.adapters.probes.connection import TIMEOUT, Unusable
from certrotd.adapters.probes.etcd.client import Access, Connection, Unanswered
from certrotd.adapters.probes.etcd.cluster import look
from certrotd.ports import Event

if TYPE_CHECKING:
    from datetime import datetime

    from certrotd.adapters.probes.etcd.cluster import Cluster
    from certrotd.core.model import Output, ServiceState
    from certrotd.ports import Log, Service

MOVE = 5.0
"""How long a move may take, in seconds. etcd needs an election timeout, about one, at most."""


@dataclass(frozen=True, slots=True)
class LeaderMovedFirst:
    """Keeps an etcd member by `service`, and lets it hand over leadership before a restart.

    A cluster without a leader takes no writes until it has elected one: for 1.1 to 1.5 s, measured
    on three members, when the leader is killed, and for 0.02 to 0.5 s when it is stopped gently, as
    it hands over by itself then. Moved first and stopped gently it was 0.02 to 0.04 s. A restart
    follows all the same when the move cannot be made.

    `endpoint`, `ca_file` and `client` are those of the member's gate.
    """

    service: Service
    endpoint: str
    ca_file: str
    client: tuple[Output, ...]
    log: Log
    component: str = ""

    def state(self) -> ServiceState:
        """Tell whether the member is up."""
        return self.service.state()

    def started(self) -> datetime | None:
        """Return when its process was started."""
        return self.service.started()

    def activate(self) -> None:
        """Move the leader away if it is this member, then activate.

        Raises:
            ActivationFailed: it could not be told, or did not come back.
        """
        self._move()
        self.service.activate()

    def _move(self) -> None:
        try:
            access = Access(self.ca_file, self.client)
            cluster = look(self.endpoint, access, TIMEOUT)
            if not cluster.leads or cluster.voters() == 1:
                return
            if (successor := cluster.successor()) is None:
                self._stayed("no other voter is fit to lead")
                return
            self._hand_over(cluster, successor, access)
        except (Unusable, Unanswered) as e:
            self._stayed(str(e))

    def _hand_over(self, cluster: Cluster, successor: int, access: Access) -> None:
        began = time.monotonic()
        with Connection(self.endpoint, access) as connection:
            # It answers when it sees the successor lead.
            connection.move_leader(successor, MOVE)
        self.log(
            Event.LEADER_MOVED,
            component=self.component,
            old=cluster.name(cluster.here),
            new=cluster.name(successor),
            duration=round(time.monotonic() - began, 3),
        )

    def _stayed(self, why: str) -> None:
        self.log(Event.LEADER_STAYED, component=self.component, detail=f"{self.endpoint}: {why}")
