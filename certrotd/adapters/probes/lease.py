"""The health of a leader election: kube-controller-manager's, kube-scheduler's."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.adapters.probes.asking import OK, NoAnswer, get, identified, refused
from certrotd.adapters.probes.connection import TIMEOUT, Deadline, Unusable, excerpt
from certrotd.core.model import Evidence

if TYPE_CHECKING:
    import ssl

    from certrotd.core.model import Output

POLL = 0.25
"""Seconds between two looks at a Lease."""
SHORT = 1.0
"""What the last look has at least, in seconds."""


@dataclass(frozen=True, slots=True)
class LeaseGate:
    """The holder of a leader election's Lease renews it, seen by two looks at it.

    The times in a Lease are its holder's own and are compared with each other alone, never with a
    clock of ours. A component renews every 2 s by default; `timeout` bounds the wait. A look that
    does not see a renewal itself would take one of a process that has ended since for its
    successor's, so nothing is kept from an earlier look.

    `leads` is told of a holder whose name is `identity`, or begins with it and `_`. `ca_file` is
    what the server's certificate must build to; `client` are the outputs of the pair to present.
    """

    url: str
    name: str
    ca_file: str
    client: tuple[Output, ...]
    namespace: str = "kube-system"
    identity: str | None = None
    timeout: float = TIMEOUT

    def check(self) -> Evidence:
        """Look at the Lease until it is renewed."""
        deadline = Deadline(self.timeout)
        try:
            context = identified(self.ca_file, self.client)
            first = self._read(context, self.timeout)
            if not first.holder:
                return self._evidence("nobody holds it")
            return self._watch(context, first, deadline)
        except Unusable as e:
            return self._evidence(str(e))
        except NoAnswer as e:
            return self._evidence(str(e), reachable=e.reachable)

    def _watch(self, context: ssl.SSLContext, first: _Lease, deadline: Deadline) -> Evidence:
        try:
            while True:
                time.sleep(min(POLL, deadline.left()))
                lease = self._read(context, max(deadline.left(), SHORT))
                if lease.holder and lease.renewed != first.renewed:
                    return self._evidence(f"{excerpt(lease.holder)} renews it", lease, holds=True)
        except TimeoutError:
            told = f"{excerpt(first.holder)} has not renewed it for {self.timeout:g} s"
            return self._evidence(told, first)

    def _read(self, context: ssl.SSLContext, timeout: float) -> _Lease:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/{self.name}"
        answer = get(f"{self.url}{path}", context, round(timeout, 1))
        if answer.status != OK:
            raise NoAnswer(refused(answer, "get it"))
        try:
            spec = json.loads(answer.body)["spec"]
            return _Lease(str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or ""))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise NoAnswer("the answer is not a Lease") from e

    def _evidence(
        self,
        detail: str,
        lease: _Lease | None = None,
        *,
        holds: bool = False,
        reachable: bool = True,
    ) -> Evidence:
        what = f"Lease {self.namespace}/{self.name}"
        own = self.identity or socket.gethostname()
        holder = lease.holder if lease else ""
        return Evidence(
            source=f"{what} {self.url}",
            holds=holds,
            detail=f"{what}: {detail}",
            reachable=reachable,
            leads=holds and (holder == own or holder.startswith(f"{own}_")),
        )


@dataclass(frozen=True, slots=True)
class _Lease:
    """Who holds it (empty: nobody), and the moment of its last renewal in the holder's words."""

    holder: str
    renewed: str
