"""One leader among several instances: a Lease (coordination.k8s.io/v1), compared and swapped."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from certrotd.adapters.kubernetes.events import micro_time
from certrotd.core.errors import ApiRefused, CertrotdError

if TYPE_CHECKING:
    from datetime import datetime

    from certrotd.adapters.kubernetes.connection import ApiConnection, Json
    from certrotd.ports import Clock

DURATION = 15
"""Seconds without a renewal after which others may take the Lease."""
RENEWED_AFTER = 4.0
"""Seconds after which it is renewed."""
LEADS_FOR = 10.0
"""Seconds without a renewal after which we lead no more: well before others may."""
RETRIED_AFTER = 2.0
"""Seconds between two looks at a Lease that others hold, or that could not be reached."""
_NOT_OURS = (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND)
"""Somebody else was quicker, or somebody deleted it."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A Lease as it was first seen: its version, and when that was by our own clock."""

    version: str
    at: float


class LeaseLeadership:
    """Leads while it holds a Lease that it renewed a short while ago.

    The times in a Lease are its holder's and are compared with nothing: a Lease is free when it
    has not changed for its duration under our own eyes, by the monotonic clock.
    """

    def __init__(
        self,
        connection: ApiConnection,
        clock: Clock,
        *,
        name: str,
        namespace: str,
        identity: str,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._name = name
        self._identity = identity
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._held: Json | None = None
        self._renewed = float("-inf")
        self._due = float("-inf")
        self._seen = _Seen("", 0.0)
        self.problem = ""

    def lead(self) -> bool:
        """Take or renew the Lease where it is time to; tell whether we lead."""
        now = self._clock.monotonic()
        if now >= self._due:
            self._due = now + RETRIED_AFTER
            try:
                if self._take(now):
                    self._due = now + RENEWED_AFTER
                self.problem = ""
            except CertrotdError as e:
                self.problem = str(e)
                if getattr(e, "status", None) in _NOT_OURS:
                    self._lose()
        return self._held is not None and self._clock.monotonic() - self._renewed < LEADS_FOR

    def release(self) -> None:
        """Give the Lease up if it is ours; who waits for it takes it at the next look."""
        if self._held is None:
            return
        held = self._held
        self._lose()
        try:
            self._write(held, "", 1)
        except CertrotdError as e:
            self.problem = str(e)  # it ends by itself

    def _take(self, now: float) -> bool:
        """Renew what is ours, or take what is free; tell whether it is ours now.

        Raises:
            CertrotdError: neither could be done.
        """
        lease = self._held or self._read()
        if lease is None:
            spec = self._spec({}, self._identity)
            body = _KIND | {"metadata": {"name": self._name}, "spec": spec}
            held = self._connection.call("POST", self._path, body=body)
        elif self._held or self._is_free(lease, now):
            held = self._write(lease, self._identity, DURATION)
        else:
            return False
        # Counted from before the request: the server may have had it at once.
        self._held, self._renewed = held, now
        return True

    def _read(self) -> Json | None:
        try:
            return self._connection.call("GET", f"{self._path}/{self._name}")
        except ApiRefused as e:
            if e.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def _is_free(self, lease: Json, now: float) -> bool:
        spec, version = lease.get("spec") or {}, str(lease["metadata"]["resourceVersion"])
        if spec.get("holderIdentity") in (None, "", self._identity):
            return True
        if version != self._seen.version:
            self._seen = _Seen(version, now)
        return now - self._seen.at > float(spec.get("leaseDurationSeconds") or DURATION)

    def _write(self, lease: Json, holder: str, duration: int) -> Json:
        """Replace it; refused with 409 if it changed since it was read."""
        spec = self._spec(lease.get("spec") or {}, holder) | {"leaseDurationSeconds": duration}
        body = _KIND | {"metadata": lease["metadata"], "spec": spec}
        return self._connection.call("PUT", f"{self._path}/{self._name}", body=body)

    def _spec(self, before: Json, holder: str) -> Json:
        """Both times are stamped anew: written back, those of others may be of another form."""
        now: datetime = self._clock.now()
        changes = int(before.get("leaseTransitions") or 0)
        changed = holder not in ("", before.get("holderIdentity"))
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": DURATION,
            "acquireTime": micro_time(now) if changed else before.get("acquireTime"),
            "renewTime": micro_time(now),
            "leaseTransitions": changes + 1 if before and changed else changes,
        }

    def _lose(self) -> None:
        self._held, self._renewed = None, float("-inf")


_KIND: Json = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
