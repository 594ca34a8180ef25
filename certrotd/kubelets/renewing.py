"""This node's own kubelet certificates: look, ask, wait, store, restart, see that it is well.

    look ─► cause? ─► pause since the last requests over? ─► key + request made, kept ─► submitted
                                                                                           │ look
     shown to be in use ◄─ gates ◄─ kubelet restarted ◄─ stored ◄─ exactly as asked ◄─ issued
                                                                    denied, failed, gone, too late:
                                                                    the key goes, and it pauses

Each look does what can be done now and returns; a daemon looks once in a minute, a command once in
a second. What is on its way is in the record, so that whoever looks next goes on with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from certrotd.core import kubelets, x509
from certrotd.core.errors import (
    ApiRefused,
    ApiUnavailable,
    CertrotdError,
    PermanentError,
    Rejected,
)
from certrotd.core.kubelets import Cause, Held, Record, Wanted
from certrotd.core.model.kubelets import Purpose
from certrotd.kubelets.naming import Names
from certrotd.kubelets.progress import Progress, State
from certrotd.ports import Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from certrotd.core.kubelets import Attempt
    from certrotd.core.model import KeyAlgorithm
    from certrotd.core.model.kubelets import SubmittedRequest
    from certrotd.kubelets.naming import ServingNames
    from certrotd.kubelets.settling import Settling
    from certrotd.ports import Clock, Log
    from certrotd.ports.kubelets import Access, Asker, OwnStore, Records


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is wanted, and for how long whom is waited for."""

    node: str
    server: str
    ca_file: str
    key: KeyAlgorithm
    lifetime: timedelta | None = None
    answer_within: timedelta = timedelta(minutes=15)
    patience: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the renewer works with; `current` is the link to the client pair in use."""

    store: OwnStore
    records: Records
    access: Access
    names: ServingNames
    settling: Settling
    anchors: Callable[[], tuple[bytes, ...]]
    current: str


CREDENTIAL_WANTED = (
    "on a control-plane node: kubeadm token create; put the token into a file of mode 0600 on this "
    "node and name it as kubelet.bootstrap.token_file; then: certrotd kubelet bootstrap"
)
"""What to do where a node has no bootstrap credential."""


class NoIdentity(PermanentError):
    """The node has neither a valid client certificate nor a bootstrap credential."""


@dataclass(slots=True)
class Renewer:
    """One node's; not safe for several threads, and only one process at a time may look."""

    terms: Terms
    means: Means
    clock: Clock
    log: Log
    _noticed: dict[Purpose, datetime] = field(default_factory=dict)
    _distrusted: str = ""

    def look(
        self, purpose: Purpose, *, asked: bool = False, patient: bool = True, token: bool = False
    ) -> Progress:
        """Do what can be done now.

        Args:
            purpose: Which of the two.
            asked: Replace it, although it is good.
            patient: Give the kubelet time to do it by itself.
            token: Ask with the bootstrap credential, whatever the node has.

        Raises:
            TransientError: somebody is away; what is on its way stays so.
            PermanentError: it cannot go on by itself; the hint says what to do.
        """
        now = self.clock.now()
        record = self.means.records.load(purpose)
        held = self.means.store.read(purpose)
        if record.stored_at:
            return self._settle(purpose, record, held)
        attempt = record.attempt
        wanted = self.wanted(purpose, held, now, attempt)
        asked = asked or (attempt is not None and attempt.cause is Cause.ASKED)
        why = kubelets.cause(wanted, held, now, asked=asked)
        if attempt and (why is None or not kubelets.fits(wanted, attempt.request)):
            record, attempt = replace(record, attempt=None), None
            self.means.records.save(purpose, record)
        if why is None:
            self._noticed.pop(purpose, None)
            return self._fresh(purpose, record, held, now)
        cause, detail = why
        if attempt is None:
            if waiting := self._waiting(purpose, record, why, now, patient=patient):
                return waiting
            asker = self._asker(purpose, now, token=token)
            attempt = kubelets.begin(wanted, cause, now)
            counted = (*record.recent(now), now)
            record = Record(requests=counted, attempt=attempt)
            self.means.records.save(purpose, record)
            self.log(
                Event.KUBELET_CERTIFICATE_REQUESTED,
                purpose=purpose, request=attempt.name, cause=cause, detail=detail,
                identity=asker.who,
            )  # fmt: skip
        else:
            asker = self._asker(purpose, now, token=token)
        return self._follow(wanted, record, attempt, asker)

    def wanted(
        self, purpose: Purpose, held: Held, now: datetime, attempt: Attempt | None = None
    ) -> Wanted:
        """Say what a certificate must be.

        Where nobody can tell the names now, those of a certificate that is held are taken for
        right, unless others are being asked for: it is replaced when they are known.

        Raises:
            TransientError, PermanentError: the names cannot be learnt, and are needed.
        """
        names = Names() if purpose is Purpose.CLIENT else self._names(held, now, attempt)
        return Wanted(
            node=self.terms.node,
            purpose=purpose,
            dns_names=names.dns_names,
            ip_addresses=names.ip_addresses,
            key=self.terms.key,
            lifetime=self.terms.lifetime,
        )

    def _names(self, held: Held, now: datetime, attempt: Attempt | None) -> Names:
        if known := self.means.names.remembered():
            return known
        try:
            return self.means.names.ask(self._asker(Purpose.SERVING, now).nodes)
        except CertrotdError:
            leaf = held.leaf
            if attempt or leaf is None or now >= leaf.not_after:
                raise
            return Names(dns_names=leaf.dns_names, ip_addresses=leaf.ip_addresses)

    def _waiting(
        self,
        purpose: Purpose,
        record: Record,
        why: tuple[Cause, str],
        now: datetime,
        *,
        patient: bool,
    ) -> Progress | None:
        """Return why nothing is asked for now; None if it is time to."""
        cause, detail = why
        until = self._noticed.setdefault(purpose, now) + self.terms.patience
        if patient and cause.kubelet_may_mend and now < until:
            detail = f"{detail}; the kubelet is given time to replace it by itself"
            return Progress(
                purpose=purpose, state=State.WATCHED, detail=detail, cause=cause, until=until
            )
        recent = record.recent(now)
        due = kubelets.next_request(recent)
        if due is None or now >= due:
            return None
        hours = kubelets.REMEMBERED // timedelta(hours=1)
        return Progress(
            purpose=purpose, state=State.PAUSING, cause=cause, until=due,
            detail=f"{detail}; {len(recent)} requests in {hours} hours did not end it",
            hint=f"the next one is made at {due:%H:%M:%SZ}, so that the cluster is not flooded",
        )  # fmt: skip

    def _asker(self, purpose: Purpose, now: datetime, *, token: bool = False) -> Asker:
        """Return as whom to ask; for a serving certificate only the node itself may.

        Raises:
            NoIdentity: there is nobody.
            ApiUnavailable: the node has no client certificate yet.
            TransientError, PermanentError: the bootstrap credential cannot be had.
        """
        client = self.means.store.read(Purpose.CLIENT)
        trusted = client.leaf is not None and client.leaf.fingerprint != self._distrusted
        if not token and client.usable(now) and trusted:
            return self.means.access.node(client)
        if purpose is Purpose.SERVING:
            why = _state_of(client, now)
            raise ApiUnavailable(
                f"a serving certificate is asked for as the node itself, and {why}"
            )
        asker = self.means.access.bootstrap()
        if asker is None:
            raise NoIdentity(
                f"node {self.terms.node} has nothing to ask with: {_state_of(client, now)}, "
                "and no bootstrap credential is configured",
                hint=CREDENTIAL_WANTED,
            )
        return asker

    def _follow(self, wanted: Wanted, record: Record, attempt: Attempt, asker: Asker) -> Progress:
        """Submit what is not, and look what became of it."""
        purpose = wanted.purpose
        try:
            seen = asker.requests.look(attempt.name)
            if seen is None and not attempt.submitted:
                seen = asker.requests.submit(
                    attempt.name, purpose, attempt.request, wanted.lifetime,
                    rsa=wanted.key.startswith("rsa"),
                )  # fmt: skip
        except ApiRefused as e:
            if self._distrust(e, asker):
                asker = self._asker(purpose, self.clock.now())
                return self._follow(wanted, record, attempt, asker)
            return self._failed(purpose, record, str(e), e.hint)
        if seen is None:
            return self._failed(
                purpose, record, f"request {attempt.name} is gone, and was not answered",
                "requests are deleted after a day without a verdict, or by somebody",
            )  # fmt: skip
        if not attempt.submitted:
            attempt = replace(attempt, submitted=True)
            record = replace(record, attempt=attempt)
            self.means.records.save(purpose, record)
        return self._answered(wanted, record, attempt, asker, seen)

    def _answered(
        self,
        wanted: Wanted,
        record: Record,
        attempt: Attempt,
        asker: Asker,
        seen: SubmittedRequest,
    ) -> Progress:
        """Do what the request's state asks for."""
        purpose, now = wanted.purpose, self.clock.now()
        if not kubelets.is_ours(seen, purpose, attempt):
            return self._failed(
                purpose, record, f"what kube-apiserver shows as request {attempt.name} is another",
                "who stands between here and there, or changes requests?",
            )  # fmt: skip
        if told := _refusal(seen):
            return self._failed(purpose, record, *told)
        if seen.certificate:
            return self._store(wanted, record, attempt, seen.certificate)
        if now - attempt.begun_at >= self.terms.answer_within:
            return self._failed(purpose, record, *_unanswered(seen, self.terms.answer_within))
        return Progress(
            purpose=purpose, state=State.PENDING, cause=attempt.cause,
            detail=f"request {attempt.name} by {asker.who} {_waits_for(seen)}",
            until=attempt.begun_at + self.terms.answer_within,
        )  # fmt: skip

    def _distrust(self, error: ApiRefused, asker: Asker) -> bool:
        """Ask with the bootstrap credential from now on if the server knows our CA no more."""
        leaf = self.means.store.read(Purpose.CLIENT).leaf
        if error.status != HTTPStatus.UNAUTHORIZED or asker.by_token or leaf is None:
            return False
        self._distrusted = leaf.fingerprint
        return True

    def _failed(self, purpose: Purpose, record: Record, detail: str, hint: str) -> Progress:
        """Forget the key; the next request has another one, after a pause."""
        attempt = record.attempt
        self.means.records.save(purpose, replace(record, attempt=None))
        until = kubelets.next_request(record.recent(self.clock.now()))
        self.log(
            Event.KUBELET_REQUEST_FAILED,
            purpose=purpose, request=attempt.name if attempt else "", error=detail, hint=hint,
            next=until,
        )  # fmt: skip
        return Progress(
            purpose=purpose, state=State.FAILED, detail=detail, hint=hint, until=until,
            cause=attempt.cause if attempt else None,
        )  # fmt: skip

    def _store(
        self, wanted: Wanted, record: Record, attempt: Attempt, certificate: bytes
    ) -> Progress:
        """Check the answer and put it where the kubelet looks."""
        purpose, now = wanted.purpose, self.clock.now()
        try:
            leaf, chain = kubelets.checked(
                wanted, attempt.private_key, x509.split_pem(certificate), self.means.anchors(), now
            )
        except (Rejected, ValueError) as e:
            hint = "the signer gave something else; nothing of it was stored"
            return self._failed(purpose, record, str(e), hint)
        held = self.means.store.read(purpose)
        path = held.path
        if held.leaf is None or held.leaf.fingerprint != leaf.fingerprint:
            path = self.means.store.write(purpose, chain, attempt.private_key, now)
        # Only now is the key dispensable: whoever dies before this stores the same pair again.
        stored = Record(requests=record.requests, stored_at=self.clock.now())
        self.means.records.save(purpose, stored)
        self._noticed.pop(purpose, None)
        self.log(
            Event.KUBELET_CERTIFICATE_STORED,
            purpose=purpose, serial=leaf.serial, not_after=leaf.not_after, path=path,
        )  # fmt: skip
        if purpose is Purpose.CLIENT:
            self._mend_kubeconfig(now)
        return self._settle(purpose, stored, self.means.store.read(purpose))

    def _fresh(self, purpose: Purpose, record: Record, held: Held, now: datetime) -> Progress:
        """See that the kubelet can find the good pair that it has."""
        mended = purpose is Purpose.CLIENT and self._mend_kubeconfig(now)
        if mended:
            stored = replace(record, stored_at=self.clock.now())
            self.means.records.save(purpose, stored)
            return self._settle(purpose, stored, held)
        assert held.leaf  # noqa: S101  # without one there is a cause
        detail = f"{held.path} is good until {held.leaf.not_after:%Y-%m-%dT%H:%M:%SZ}"
        return Progress(purpose=purpose, state=State.FRESH, detail=detail, leaf=held.leaf)

    def _mend_kubeconfig(self, now: datetime) -> bool:
        """Write the kubeconfig that a kubelet does not start without; tell whether it was."""
        problem = self.means.store.kubeconfig_problem(now)
        if not problem:
            return False
        terms = self.terms
        content = kubelets.kubeconfig(terms.node, self.means.current, terms.server, terms.ca_file)
        self.means.store.write_kubeconfig(content)
        self.log(Event.KUBELET_KUBECONFIG_WRITTEN, detail=problem)
        return True

    def _settle(self, purpose: Purpose, record: Record, held: Held) -> Progress:
        """Restart the kubelet where it must be, and see that it is well."""
        settled = self.means.settling.look(purpose, record, held)
        self.means.records.save(purpose, settled.record)
        state = State.RENEWED if settled.holds else State.SETTLING
        if settled.error:
            state = State.FAILED
        return Progress(
            purpose=purpose, state=state, detail=settled.error or settled.detail,
            hint=settled.hint, leaf=held.leaf,
        )  # fmt: skip


def _state_of(held: Held, now: datetime) -> str:
    """Say why a client certificate is none to ask with."""
    if held.leaf is None:
        return f"{held.path} {held.problem or 'does not exist'}"
    if now >= held.leaf.not_after:
        return f"{held.path} ended at {held.leaf.not_after:%Y-%m-%dT%H:%M:%SZ}"
    if held.leaf.public_key != held.key:
        return f"the key in {held.path} does not belong to its certificate"
    return f"kube-apiserver does not accept {held.path}"


def _refusal(seen: SubmittedRequest) -> tuple[str, str] | None:
    """Say that there will be no certificate, and what a person can do."""
    if seen.denied is not None:
        told = f": {seen.denied}" if seen.denied else ""
        return f"request {seen.name} was denied{told}", "ask whoever approves requests why"
    if seen.failed is not None:
        told = f": {seen.failed}" if seen.failed else ""
        return f"request {seen.name} could not be signed{told}", "look at the signer's log"
    return None


def _waits_for(seen: SubmittedRequest) -> str:
    return "waits for approval" if seen.approved is None else "is approved and waits for its signer"


def _unanswered(seen: SubmittedRequest, limit: timedelta) -> tuple[str, str]:
    minutes = limit.total_seconds() / 60
    detail = f"request {seen.name} {_waits_for(seen)} since {minutes:g} minutes"
    if seen.approved is None:
        return detail, f"kubectl certificate approve {seen.name}, or see docs/kubelets.md"
    return detail, "is kube-controller-manager's signer on, or `certrotd kubelet approve` running?"
