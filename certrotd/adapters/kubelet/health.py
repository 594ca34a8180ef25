"""Whether the kubelet says of itself that it is well."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from certrotd.core.model import Evidence

TIMEOUT = 5.0
"""Seconds one look may take."""


@dataclass(frozen=True, slots=True)
class HealthGate:
    """The kubelet answers 200 on `http://ADDRESS/healthz` (`host:port`)."""

    address: str
    timeout: float = TIMEOUT

    def check(self) -> Evidence:
        """Ask once."""
        from http.client import HTTPConnection, HTTPException  # noqa: PLC0415  # start-up time

        connection = HTTPConnection(self.address, timeout=self.timeout)
        try:
            connection.request("GET", "/healthz")
            status = connection.getresponse().status
        except (OSError, HTTPException) as e:
            return self._evidence(str(e) or repr(e), reachable=False)
        finally:
            connection.close()
        return self._evidence(f"/healthz says {status}", holds=status == HTTPStatus.OK)

    def _evidence(self, detail: str, *, holds: bool = False, reachable: bool = True) -> Evidence:
        return Evidence(
            source=f"kubelet {self.address}",
            holds=holds,
            detail=f"kubelet {self.address}: {detail}",
            reachable=reachable,
        )
