"""The two who renew a node's kubelet certificates: the daemon's tick, and a person who waits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from certrotd.core import kubelets
from certrotd.core.errors import ApiUnavailable, CertrotdError, LockHeld
from certrotd.core.kubelets import Cause, Held, Record, Wanted
from certrotd.core.model.kubelets import Purpose
from certrotd.kubelets.progress import Progress, State
from certrotd.ports import Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from certrotd.kubelets.renewing import Renewer
    from certrotd.ports import Lock

REMIND = 3600.0
"""Seconds after which trouble that goes on is logged again."""
FIRST_POLL, LONGEST_POLL = 1.0, 10.0
"""Seconds between two looks of somebody who waits."""
SETTLING_POLL = 1.0
_PURPOSE = "kubelet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What can be told of one purpose from files alone."""

    purpose: Purpose
    held: Held
    record: Record
    why: tuple[Cause, str] | None
    next_request: datetime | None


@dataclass(slots=True)
class Tending:
    """What commands and the daemon do with a Renewer; only one of them at a time."""

    renewer: Renewer
    purposes: tuple[Purpose, ...]
    lock: Lock
    _said: dict[Purpose, tuple[str, float]] = field(default_factory=dict)

    def tend(self) -> None:
        """Look at all purposes once; what goes wrong is logged."""
        try:
            with self.lock.hold(_PURPOSE):
                for purpose in self.purposes:
                    self._tend(purpose)
        except LockHeld:
            return  # somebody waits for one: it is in good hands
        except CertrotdError as e:
            self._trouble(self.purposes[0], str(e), e.hint)

    def _tend(self, purpose: Purpose) -> None:
        try:
            progress = self.renewer.look(purpose)
        except CertrotdError as e:
            self._trouble(purpose, str(e), e.hint)
            return
        if progress.state is State.PAUSING:
            # The hint has a time that changes; what it says is in the log with the last failure.
            self._trouble(purpose, progress.detail, "")
        elif progress.state is not State.FAILED:
            self._said.pop(purpose, None)

    def _trouble(self, purpose: Purpose, text: str, hint: str) -> None:
        """Log what keeps it from going on, but the same only now and then."""
        now = self.renewer.clock.monotonic()
        said = self._said.get(purpose)
        if said is None or said[0] != text or now - said[1] >= REMIND:
            self._said[purpose] = (text, now)
            self.renewer.log(Event.KUBELET_DEFERRED, purpose=purpose, error=text, hint=hint)

    def renew(
        self,
        purpose: Purpose,
        *,
        asked: bool,
        token: bool = False,
        tell: Callable[[Progress], None] = lambda _: None,
    ) -> Progress:
        """Stay with one purpose until there is nothing more to wait for.

        Args:
            purpose: Which of the two.
            asked: Replace it, although it is good.
            token: Ask with the bootstrap credential.
            tell: Called with whatever is new.

        Raises:
            LockHeld: another certrotd is at it.
            TransientError: kube-apiserver was away for as long as an answer may take.
            PermanentError: it cannot go on by itself.
        """
        clock, pause, said = self.renewer.clock, FIRST_POLL, ""
        ends = clock.monotonic() + self.renewer.terms.answer_within.total_seconds()
        with self.lock.hold(f"{_PURPOSE} renew"):
            # A request that is on its way already is as good as one of ours; a pair that was only
            # not yet shown to be in use is not what was asked for.
            owed = asked and self.renewer.means.records.load(purpose).stored_at is not None
            while True:
                named = 0.0
                try:
                    progress = self.renewer.look(purpose, asked=asked, patient=False, token=token)
                except ApiUnavailable as e:
                    named = e.retry_after or 0.0
                    if clock.monotonic() + named >= ends:
                        raise
                    progress = Progress(purpose=purpose, state=State.PENDING, detail=str(e))
                else:
                    if progress.is_over and not (owed and progress.state is State.RENEWED):
                        return progress
                    owed = owed and progress.state is State.SETTLING
                    # Sooner only for a request that gets on, not for ever other errors.
                    pause = pause if progress.detail == said else FIRST_POLL
                if progress.detail != said:
                    tell(progress)
                    said = progress.detail
                waits = SETTLING_POLL if progress.state is State.SETTLING else pause
                clock.sleep(max(waits, named))
                pause = min(pause * 1.5, LONGEST_POLL)

    def glance(self) -> tuple[Sight, ...]:
        """Say how things are, from files alone.

        Raises:
            PublishRefused: what is remembered cannot be read.
        """
        return tuple(map(self._glance, self.purposes))

    def _glance(self, purpose: Purpose) -> Sight:
        now, means, terms = self.renewer.clock.now(), self.renewer.means, self.renewer.terms
        held, record = means.store.read(purpose), means.records.load(purpose)
        wanted = Wanted(node=terms.node, purpose=purpose)
        if purpose is Purpose.SERVING and (names := means.names.remembered()):
            wanted = replace(wanted, dns_names=names.dns_names, ip_addresses=names.ip_addresses)
        return Sight(
            purpose=purpose,
            held=held,
            record=record,
            why=kubelets.cause(wanted, held, now),
            next_request=kubelets.next_request(record.recent(now)),
        )
