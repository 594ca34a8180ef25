"""An issuer that keeps the books, for random runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.unit.stage import Signer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from certrotd.core.model import Answer, CertificateSpec, SigningRequest
    from tests.factories import Lab
    from tests.fakes.clock import FakeClock

BUDGET = 3
DAY = timedelta(days=1)


class Ledger(Signer):
    """The lab's CA; keeps the books of every signature and what was wrong with asking for it.

    The day of the budget is counted from when a run writes down that it will ask, which is before
    the first answer and may be long before the last: `began` tells when the run began. `bend`
    changes what is signed: the answer is sound, but to another question.
    """

    def __init__(self, lab: Lab, clock: FakeClock) -> None:
        super().__init__(lab, clock)
        self._now = clock.now
        self.began: Callable[[], datetime] = clock.now
        self.times: dict[str, list[datetime]] = {}
        self.wrong: list[str] = []
        self.bend: Callable[[CertificateSpec], CertificateSpec] = lambda spec: spec
        self.slow = timedelta(0)

    def mend(self) -> None:
        """Be well again."""
        self.away, self.ahead, self.slow = None, timedelta(0), timedelta(0)
        self.failures.clear()
        self.tamper = lambda answer: answer
        self.bend = lambda spec: spec

    def sign(self, request: SigningRequest) -> Answer:
        name, now = request.spec.name, self._now()
        recent = [each for each in self.times.get(name, ()) if now - each < DAY]
        if len(recent) >= BUDGET:
            self.wrong.append(f"{name} asked for at {now} after {recent}")
        if self.ahead > timedelta(seconds=30) or self.away:
            self.wrong.append(f"{name} asked for although the issuer's clock is another or unknown")
        answer = super().sign(replace(request, spec=self.bend(request.spec)))
        self._clock.advance(self.slow)
        self.times.setdefault(name, []).append(self.began())
        return answer
