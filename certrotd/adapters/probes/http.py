"""A proof of a client certificate, and a health check: one authenticated HTTPS GET each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.adapters.probes.asking import NoAnswer, get, identified
from certrotd.adapters.probes.connection import TIMEOUT, Unusable, client_context, present
from certrotd.core.model import CertificateName, Evidence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certrotd.core.model import Expectation, Output


@dataclass(frozen=True, slots=True)
class ClientProof:
    """A server accepts the published pair of `certificate` for a GET of `url`.

    `client` are that certificate's outputs, `ca_file` what the server's own certificate must
    build to, `statuses` the answers that count as accepted.
    """

    url: str
    certificate: CertificateName
    client: tuple[Output, ...]
    ca_file: str
    statuses: tuple[int, ...] = (200,)
    timeout: float = TIMEOUT

    def check(self, expected: Mapping[CertificateName, Expectation]) -> Evidence:
        """Check that the files hold the published pair, then make one call with it."""
        expectation = expected.get(self.certificate)
        try:
            context = client_context(self.ca_file)
            leaf = present(context, self.client)
        except Unusable as e:
            return self._evidence(str(e), reachable=False)
        if expectation is None:
            return self._evidence(f"nothing has been published as {self.certificate} yet")
        if leaf.fingerprint != expectation.fingerprint:
            return self._evidence(
                f"the files hold serial {leaf.serial} (expected {expectation.serial})"
            )
        try:
            answer = get(self.url, context, self.timeout)
        except NoAnswer as e:
            return self._evidence(str(e), reachable=e.reachable)
        accepted = answer.status in self.statuses
        detail = f"{answer.status if accepted else answer} with serial {leaf.serial}"
        return self._evidence(detail, holds=accepted)

    def _evidence(self, detail: str, *, holds: bool = False, reachable: bool = True) -> Evidence:
        return Evidence(
            source=f"client {self.url}",
            holds=holds,
            detail=f"GET {self.url} as {self.certificate}: {detail}",
            certificate=self.certificate,
            reachable=reachable,
        )


@dataclass(frozen=True, slots=True)
class HttpGate:
    """A GET of `url` answers with one of `statuses`, and with `contains` in its body if given.

    `ca_file` is what the server's certificate must build to, `client` the outputs of a pair to
    present.
    """

    url: str
    ca_file: str
    statuses: tuple[int, ...] = (200,)
    client: tuple[Output, ...] | None = None
    contains: str | None = None
    timeout: float = TIMEOUT

    def check(self) -> Evidence:
        """Make one call."""
        try:
            context = identified(self.ca_file, self.client)
            answer = get(self.url, context, self.timeout)
        except Unusable as e:
            return self._evidence(str(e))
        except NoAnswer as e:
            return self._evidence(str(e), reachable=e.reachable)
        if answer.status not in self.statuses:
            return self._evidence(str(answer))
        if self.contains is not None and self.contains not in answer.body:
            return self._evidence(f'{answer} without "{self.contains}"')
        return self._evidence(str(answer.status), holds=True)

    def _evidence(self, detail: str, *, holds: bool = False, reachable: bool = True) -> Evidence:
        return Evidence(
            source=self.url,
            holds=holds,
            detail=f"GET {self.url}: {detail}",
            reachable=reachable,
        )
