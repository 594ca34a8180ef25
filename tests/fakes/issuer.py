"""An issuer that signs for real, with switches for all that can go wrong."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from certrotd.adapters.ca import AuthorityIssuer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from certrotd.core.errors import CertrotdError
    from certrotd.core.model import Answer, CertificateName, SigningRequest
    from tests.factories import Lab


class FakeIssuer:
    """Signs with a lab's CA, unless told otherwise.

    `away` is what everything fails with, `failures` what the signature of one certificate fails
    with; `tamper` changes answers on their way; `ahead` is how far its clock is from `clock`;
    `asked` names every certificate whose signature was asked for.
    """

    def __init__(self, lab: Lab, clock: Callable[[], datetime]) -> None:
        self.lab = lab
        self.away: CertrotdError | None = None
        self.failures: dict[str, CertrotdError] = {}
        self.tamper: Callable[[Answer], Answer] = lambda answer: answer
        self.ahead = timedelta(0)
        self.asked: list[CertificateName] = []
        self._clock = clock
        self._lock = threading.Lock()

    def sign(self, request: SigningRequest) -> Answer:
        with self._lock:
            self.asked.append(request.spec.name)
        if failure := self.away or self.failures.get(request.spec.name):
            raise failure
        authority = AuthorityIssuer(*self.lab.signer, self._now, anchors=self.lab.anchors)
        return self.tamper(authority.sign(request))

    def anchors(self) -> tuple[bytes, ...]:
        return self.lab.anchors

    def time(self) -> datetime | None:
        if self.away:
            raise self.away
        return self._now()

    def _now(self) -> datetime:
        return self._clock() + self.ahead
