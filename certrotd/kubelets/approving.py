"""Approve, deny, or leave pending; and have signed what is approved. One round after another.

    follow ──Lease──► lead ─► stream of requests ─► judge ─► approve ─► sign ─► deliver
                                                      │         (each refused if the object changed)
                                                      ├─► deny                 it can never be right
                                                      └─► leave pending        looked at again later

Nothing is remembered that the cluster does not know: a new leader lists and goes on.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.core import approval
from certrotd.core.errors import (
    ApiRefused,
    ApiUnavailable,
    CertrotdError,
    PermanentError,
    TransientError,
)
from certrotd.core.model.kubelets import NodeFacts, Ruling, Verdict
from certrotd.kubelets.knowing import Approvals
from certrotd.kubelets.lanes import Lanes
from certrotd.kubelets.signing import Unsignable
from certrotd.ports import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from certrotd.core.model.kubelets import ApprovalPolicy, SubmittedRequest
    from certrotd.kubelets.knowing import Sources
    from certrotd.kubelets.signing import Signer
    from certrotd.ports import Clock, Log
    from certrotd.ports.kubelets import Leadership, Recorder, SigningRequests

WINDOW = 3.0
"""Seconds for which one round listens; the Lease is renewed and old requests looked at between."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
"""Seconds after which a pending request is looked at again; each time twice as long."""
MOST_RETRIES = 200
"""How many pending requests are looked at again in one round."""
TRIES = 6
"""After so many refusals of the issuer a request has failed: about five minutes."""
MOST_REMEMBERED = 10_000
"""How many steps are remembered that a watch may still tell of."""
_TOLD = {
    Ruling.APPROVED: Event.REQUEST_APPROVED,
    Ruling.DENIED: Event.REQUEST_DENIED,
    Ruling.PENDING: Event.REQUEST_LEFT_PENDING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What the approver works with, and on."""

    requests: SigningRequests
    sources: Sources
    recorder: Recorder
    leadership: Leadership


@dataclass(slots=True)
class _Waiting:
    """A request that is looked at again; what was said of it, when it is due (monotonic)."""

    said: str
    due: float
    pause: float = FIRST_PAUSE
    tries: int = 1


class _Done:
    """What was done a while ago: a watch tells of each step afterwards, as things were then."""

    def __init__(self) -> None:
        self._steps: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, uid: str, step: str) -> None:
        with self._lock:
            self._steps[uid, step] = None
            if len(self._steps) > MOST_REMEMBERED:
                self._steps.popitem(last=False)

    def has(self, uid: str, step: str) -> bool:
        return (uid, step) in self._steps


class Approver:
    """One instance; `alive` is called often, also while a round is long."""

    def __init__(  # noqa: PLR0913  # its collaborators
        self,
        cluster: Cluster,
        policy: ApprovalPolicy,
        signer: Signer | None,
        *,
        clock: Clock,
        log: Log,
        alive: Callable[[], bool] = lambda: True,
        workers: int = 1,
    ) -> None:
        """`alive` returns False once the process is asked to stop; `workers` nodes at a time."""
        self._cluster = cluster
        self._policy = policy
        self._signer = signer
        self._clock = clock
        self._log = log
        self._alive = alive
        self._approvals = Approvals(keep=max(Approvals().keep, policy.not_within))
        self._lanes = Lanes(workers)
        self._failed: list[CertrotdError] = []
        self._done = _Done()
        self._waiting: dict[str, _Waiting] = {}
        self._signing_again = float("-inf")
        self._leads = False
        self._trouble = ""

    def round(self) -> None:
        """Lead or follow for a few seconds; what goes wrong is logged, and tried again."""
        if not self._leading():
            self._clock.sleep(1.0)
            return
        try:
            self._listen()
            self._look_again()
        except CertrotdError as e:
            self._troubled(str(e), e.hint)
            pause = e.retry_after if isinstance(e, TransientError) else None
            self._clock.sleep(min(pause or 1.0, WINDOW))
        else:
            self._trouble = ""

    def close(self) -> None:
        """Let a standby follow at once."""
        self._lanes.close()
        self._cluster.leadership.release()

    def _listen(self) -> None:
        """Do what is due about all that comes, several at a time.

        Raises:
            CertrotdError: the cluster could not be asked.
        """
        self._failed.clear()
        try:
            for request in self._cluster.requests.stream(WINDOW):
                self._do(request)
                if self._failed or not (self._alive() and self._leading()):
                    break  # the stream will begin with the same one again
        finally:
            self._lanes.finish(self._leading)
        if self._failed:
            raise self._failed[0]

    def _do(self, request: SubmittedRequest) -> None:
        """Have it seen, after all others of the same node."""

        def work() -> None:
            try:
                self.see(request)
            except CertrotdError as e:
                self._failed.append(e)
                self._wait(request.name, str(e))

        node = approval.node_name(request) or request.name
        self._lanes.run(node, work, self._leading)

    def verdict(self, request: SubmittedRequest) -> Verdict:
        """Judge one request without doing anything about it."""
        return self._judge(request)

    def see(self, request: SubmittedRequest) -> None:
        """Do what is due about one request as it is now.

        Raises:
            ApiUnavailable, ApiRefused: it could not be done.
        """
        self._approvals.add(request, self._clock.now())
        if approval.purpose_of(request, self._policy) is not None and request.is_open:
            if not self._done.has(request.uid, "ruled"):
                self._rule(request)
        elif self._is_to_sign(request):
            if not self._done.has(request.uid, "signed"):
                self._sign(request)
        else:
            self._waiting.pop(request.name, None)

    def _leading(self) -> bool:
        leadership = self._cluster.leadership
        leads = leadership.lead()
        if leads != self._leads:
            self._leads = leads
            event = Event.LEADERSHIP_TAKEN if leads else Event.LEADERSHIP_LOST
            self._log(event, detail=leadership.problem)
        elif leadership.problem:
            self._troubled(leadership.problem, "")
        return leads

    def _troubled(self, text: str, hint: str) -> None:
        """Log what keeps the cluster from being asked, but the same only once."""
        if text != self._trouble:
            self._log(Event.CLUSTER_UNAVAILABLE, error=text, hint=hint)
            self._trouble = text

    def _rule(self, request: SubmittedRequest) -> None:
        verdict = self._judge(request)
        try:
            if verdict.ruling is Ruling.APPROVED:
                request = self._cluster.requests.approve(request, verdict)
                self._approvals.add(request, self._clock.now())
            elif verdict.ruling is Ruling.DENIED:
                self._cluster.requests.deny(request, verdict)
        except (ApiUnavailable, ApiRefused) as e:
            if e.status is None:
                raise  # nobody is there: the same for all requests
            verdict = Verdict(ruling=Ruling.PENDING, rule="api", detail=str(e))
        self._tell(request, verdict)
        if verdict.ruling is Ruling.PENDING:
            self._wait(request.name, f"{verdict.rule} {verdict.detail}")
            return
        self._waiting.pop(request.name, None)
        self._done.add(request.uid, "ruled")
        if self._is_to_sign(request):
            self._sign(request)

    def _judge(self, request: SubmittedRequest) -> Verdict:
        """Rule on it; what cannot be learnt now leaves it pending."""
        try:
            return approval.judge(request, self._facts(request), self._policy, self._clock.now())
        except CertrotdError as e:
            return Verdict(ruling=Ruling.PENDING, rule="facts", detail=str(e))
        except Exception as e:  # noqa: BLE001  # one odd request must not keep all others waiting
            self._log(Event.JUDGING_FAILED, request=request.name, error=repr(e), exc_info=e)
            return Verdict(ruling=Ruling.PENDING, rule="defect", detail="certrotd has a defect")

    def _facts(self, request: SubmittedRequest) -> NodeFacts:
        name = approval.node_name(request)
        if name is None or not approval.is_node_name(name):
            return NodeFacts(name=name or "", exists=False)  # a rule that needs none will object
        approved = self._approvals.of(name, request.signer)
        return self._cluster.sources.facts(name, request, approved)

    def _tell(self, request: SubmittedRequest, verdict: Verdict) -> None:
        """Log and record a verdict, unless the same was said of the same request before."""
        waiting = self._waiting.get(request.name)
        if waiting and waiting.said == f"{verdict.rule} {verdict.detail}":
            return
        facts = {"request": request.name, "signer": request.signer, "requester": request.username}
        self._log(_TOLD[verdict.ruling], **facts, rule=verdict.rule, detail=verdict.detail)
        try:
            self._cluster.recorder.record(request, verdict)
        except CertrotdError as e:
            # The verdict stands and is in the log.
            self._log(Event.RECORDING_FAILED, request=request.name, error=str(e), hint=e.hint)

    def _wait(self, name: str, said: str) -> _Waiting:
        """Look at it again after a while, each time after a longer one."""
        waiting = self._waiting.get(name)
        if waiting is None:
            waiting = _Waiting(said, 0.0)
            self._waiting[name] = waiting
        else:
            waiting.said = said
            waiting.tries += 1
            waiting.pause = min(waiting.pause * 2, LONGEST_PAUSE)
        waiting.due = self._clock.monotonic() + waiting.pause
        return waiting

    def _look_again(self) -> None:
        now = self._clock.monotonic()
        due = [name for name, each in self._waiting.items() if each.due <= now]
        for name in due[:MOST_RETRIES]:
            if self._failed or not (self._alive() and self._leading()):
                break
            request = self._cluster.requests.look(name)
            if request is None:
                self._waiting.pop(name, None)  # gone
            else:
                self._do(request)
        self._lanes.finish(self._leading)

    def _is_to_sign(self, request: SubmittedRequest) -> bool:
        answered = request.certificate or request.denied is not None or request.failed is not None
        approved = request.approved is not None and not answered
        return approved and self._signer is not None and self._signer.serves(request)

    def _sign(self, request: SubmittedRequest) -> None:
        """Have it signed and deliver; a refusal is final only if it can never be otherwise."""
        assert self._signer  # noqa: S101  # see _is_to_sign
        if self._clock.monotonic() < self._signing_again:
            self._wait(request.name, "the issuer is away")
            return
        try:
            signed = self._signer.sign(request)
            self._cluster.requests.deliver(request, signed.chain)
        except (ApiUnavailable, ApiRefused) as e:
            if e.status is None:
                raise  # nobody is there: the same for all requests
            self._not_signed(request, e)
        except TransientError as e:
            self._signing_again = self._clock.monotonic() + (e.retry_after or FIRST_PAUSE)
            self._not_signed(request, e)
        except PermanentError as e:
            self._not_signed(request, e)
        else:
            self._waiting.pop(request.name, None)
            self._done.add(request.uid, "signed")
            self._log(
                Event.REQUEST_SIGNED,
                request=request.name,
                signer=request.signer,
                node=approval.node_name(request),
                serial=signed.leaf.serial,
                not_after=signed.leaf.not_after,
            )

    def _not_signed(self, request: SubmittedRequest, error: CertrotdError) -> None:
        """Wait and try again; or give it up, if it can never be signed or was refused too often.

        A role that is wrong is mended by a person in minutes, and kubelets ask far more often
        after a failure than while they wait.
        """
        said = str(error)
        before = self._waiting.get(request.name)
        if before is None or before.said != said:
            facts = {"request": request.name, "signer": request.signer}
            self._log(Event.SIGNING_FAILED, **facts, error=said, hint=error.hint)
        tries = self._wait(request.name, said).tries
        refused = isinstance(error, PermanentError) and not isinstance(error, ApiRefused)
        if isinstance(error, Unsignable) or (refused and tries >= TRIES):
            self._cluster.requests.fail(request, said)
            del self._waiting[request.name]
