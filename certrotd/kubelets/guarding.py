"""Is the kubelets' path open? What keeps certificates from being asked for, approved or signed.

Each concern names its fix. What may not be looked at is a concern, too: a guard that cannot see
must not say that all is well.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from certrotd.core import x509
from certrotd.core.errors import CertrotdError, TransientError
from certrotd.core.model.kubelets import NODES, Purpose
from certrotd.kubelets.concerns import Concern, Ending, Figures, Level, Rule, ordered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from certrotd.core.model import ParsedCertificate
    from certrotd.core.model.kubelets import (
        ApprovalPolicy,
        BootstrapToken,
        KubeletEndpoint,
        SubmittedRequest,
    )
    from certrotd.ports.kubelets import Handshakes, Inspection, SigningRequests

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MANY = 20
"""So many requests of one node in an hour are a kubelet that is refused again and again."""
UNSIGNED = timedelta(minutes=5)
"""An approved request that waits longer has no signer."""
USUAL = timedelta(days=365)
"""How long kube-controller-manager's certificates are valid if nothing else is configured."""
BOOTSTRAPPER, NODE = "system:bootstrap:guard", "system:node:guard"
EVERYBODY = "system:authenticated"
LATE = 0.08
"""A kubelet replaces its certificates when 10 to 30 % of their life are left."""
HANDSHAKES = 16
"""How many kubelets are looked at at a time."""
APPROVED_BY_CONTROLLER = "Auto approving"
"""How the messages of kube-controller-manager's own approvals begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duties:
    """What is to be looked at, and when to worry.

    `policy` is the approver's; `signs` whether certrotd has certificates signed; `life` how long
    they are valid, None where that is kube-controller-manager's business.
    """

    policy: ApprovalPolicy
    signs: bool
    life: timedelta | None
    bootstrap_group: str
    pending_warning: timedelta
    pending_critical: timedelta


@dataclass(slots=True)
class Guard:
    """Looks once."""

    requests: SigningRequests
    inspection: Inspection
    handshakes: Handshakes
    authorities: Callable[[], tuple[ParsedCertificate, ...]]
    duties: Duties
    figures: Figures = field(default_factory=Figures)
    endings: tuple[Ending, ...] = ()

    def look(self, now: datetime) -> tuple[Concern, ...]:
        """Return all concerns, the worst first; `figures` and `endings` are known afterwards."""
        life = self.duties.life or USUAL
        self.endings = ()
        looks: tuple[tuple[Rule, str, Callable[[], Iterator[Concern]]], ...] = (
            (Rule.REQUESTS, "requests", lambda: self._requests(now)),
            (Rule.RIGHTS, "rights", self._rights),
            (
                Rule.TOKENS, "bootstrap tokens",
                lambda: tokens(self.inspection.tokens(), self.duties, now),
            ),
            (Rule.SERVING, "what kubelets present", lambda: self._served(now)),
            (Rule.SIGNING_CA, "the signing CA", lambda: self._signing(life, now)),
        )  # fmt: skip
        found: list[Concern] = []
        for rule, what, look in looks:
            try:
                found += look()
            except CertrotdError as e:
                text = f"{what} could not be looked at: {e}"
                fix = e.hint or "try again"
                found.append(Concern(level=Level.UNKNOWN, rule=rule, text=text, fix=fix))
        return ordered(found)

    def _requests(self, now: datetime) -> Iterator[Concern]:
        there = tuple(self.requests.everything())
        self.figures = count(there, now)
        yield from pending(there, self.duties, now)
        yield from refused(there, now)
        yield from storms(there, now)
        yield from bypasses(there, self.duties)

    def _served(self, now: datetime) -> Iterator[Concern]:
        """Look at what kubelets present; one that cannot be reached from here is only counted."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # start-up time

        endpoints = self.inspection.kubelets()
        with ThreadPoolExecutor(HANDSHAKES) as pool:
            leaves = tuple(pool.map(self._leaf, endpoints))
        read = [(each, leaf) for each, leaf in zip(endpoints, leaves, strict=True) if leaf]
        unread = len(endpoints) - len(read)
        self.figures = replace(self.figures, kubelets=len(endpoints), unread=unread)
        self.endings += tuple(
            Ending(of="serving", name=each.node, at=leaf.not_after) for each, leaf in read
        )
        yield from ages(read, now)

    def _signing(self, life: timedelta, now: datetime) -> Iterator[Concern]:
        there = self.authorities()
        self.endings += tuple(
            Ending(of="signing_ca", name=each.common_name or each.subject, at=each.not_after)
            for each in there
        )
        yield from authorities(there, life, now)

    def _leaf(self, endpoint: KubeletEndpoint) -> ParsedCertificate | None:
        try:
            return self.handshakes.leaf(endpoint)
        except TransientError:
            return None  # it is counted

    def _rights(self) -> Iterator[Concern]:
        """Both groups need to ask; the controller must approve only where nobody else does."""
        duties = self.duties
        groups = (duties.bootstrap_group, "system:bootstrappers", EVERYBODY)
        wanted: list[tuple[str, str, tuple[str, ...], str, str]] = [
            ("", NODE, (NODES, EVERYBODY), "system:node-bootstrapper", "ask for the next")
        ]
        bootstraps = bool(duties.policy.bootstrap_groups)
        ours = Purpose.CLIENT in duties.policy.purposes
        if bootstraps or not ours:
            wanted += [("", BOOTSTRAPPER, groups, "system:node-bootstrapper", "ask for the first")]
        if not ours:
            role = "system:certificates.k8s.io:certificatesigningrequests"
            wanted += [
                ("nodeclient", BOOTSTRAPPER, groups, f"{role}:nodeclient", "get the first"),
                (
                    "selfnodeclient", NODE, (NODES, EVERYBODY),
                    f"{role}:selfnodeclient", "get the next",
                ),
            ]  # fmt: skip
        for subresource, user, who, role, what in wanted:
            if not self.inspection.may_create(subresource, user, who):
                yield Concern(
                    level=Level.CRITICAL,
                    rule=Rule.RIGHTS,
                    text=f"the group {who[0]} may not {what} client certificate",
                    fix=f"kubectl create clusterrolebinding certrotd:{who[0].replace(':', '-')}"
                    f"{'-' + subresource if subresource else ''} --clusterrole={role}"
                    f" --group={who[0]}",
                )


def count(there: tuple[SubmittedRequest, ...], now: datetime) -> Figures:
    """Count the requests by their state."""
    recent = [each for each in there if now - each.created_at < HOUR]
    waiting = [(now - each.created_at).total_seconds() for each in there if each.is_open]
    return Figures(
        pending=len(waiting),
        oldest_pending=max(waiting, default=0.0),
        unsigned=sum(_is_unsigned(each) for each in there),
        issued=sum(each.certificate is not None for each in there),
        denied=sum(each.denied is not None for each in there),
        failed=sum(each.failed is not None for each in there),
        approved=sum(each.approved is not None for each in recent),
        signed=sum(each.certificate is not None for each in recent),
        refused=sum(_is_refused(each) for each in recent),
    )


def pending(
    there: tuple[SubmittedRequest, ...], duties: Duties, now: datetime
) -> Iterator[Concern]:
    """Find requests that wait too long: for a verdict, or for a signature."""
    old = sorted(
        (each for each in there if each.is_open and now - each.created_at > duties.pending_warning),
        key=lambda each: each.created_at,
    )
    if old:
        age = now - old[0].created_at
        yield Concern(
            level=Level.CRITICAL if age > duties.pending_critical else Level.WARNING,
            rule=Rule.PENDING,
            text=f"{len(old)} requests wait for a verdict, {old[0].name} of {old[0].username} "
            f"for {_minutes(age)}",
            fix="is an approver running? `certrotd kubelet approve --dry-run` says why each waits",
        )
    unsigned = [
        each
        for each in there
        if _is_unsigned(each) and now - (each.approved_at or each.created_at) > UNSIGNED
    ]
    if unsigned:
        yield Concern(
            level=Level.CRITICAL,
            rule=Rule.UNSIGNED,
            text=f"{len(unsigned)} approved requests are not signed, {unsigned[0].name} of "
            f"{unsigned[0].username} among them",
            fix="look for signing_failed in the log of `certrotd kubelet approve`"
            if duties.signs
            else "kube-controller-manager needs --cluster-signing-cert-file and -key-file, and its "
            "controller certificatesigningrequest-signing-controller; or configure `signers`",
        )


def refused(there: tuple[SubmittedRequest, ...], now: datetime) -> Iterator[Concern]:
    """Find what was denied or failed in the last hour."""
    recent = [each for each in there if _is_refused(each) and now - each.created_at < HOUR]
    if recent:
        last = max(recent, key=lambda each: each.created_at)
        yield Concern(
            level=Level.WARNING,
            rule=Rule.REFUSED,
            text=f"{len(recent)} requests were denied or failed in the last hour, {last.name} of "
            f"{last.username}: {last.denied or last.failed}",
            fix=f"`kubectl describe csr {last.name}` names the rule; mend that node, or the policy",
        )


def storms(there: tuple[SubmittedRequest, ...], now: datetime) -> Iterator[Concern]:
    """Find who asks again and again."""
    asked = Counter(each.username for each in there if now - each.created_at < HOUR)
    for who, times in asked.most_common(3):
        if times > MANY:
            yield Concern(
                level=Level.WARNING,
                rule=Rule.STORM,
                text=f"{who} asked {times} times in the last hour",
                fix="look at the Events of its requests and at the log of its kubelet",
            )


def bypasses(there: tuple[SubmittedRequest, ...], duties: Duties) -> Iterator[Concern]:
    """Find approvals that never saw the policy."""
    if Purpose.CLIENT not in duties.policy.purposes:
        return
    past = [each for each in there if (each.approved or "").startswith(APPROVED_BY_CONTROLLER)]
    if past:
        yield Concern(
            level=Level.WARNING,
            rule=Rule.BYPASS,
            text=f"kube-controller-manager approved {len(past)} requests past the policy",
            fix="start it with --controllers=*,-certificatesigningrequest-approving-controller, "
            "or leave `client` out of `policy.purposes`",
        )


def tokens(there: tuple[BootstrapToken, ...], duties: Duties, now: datetime) -> Iterator[Concern]:
    """Find tokens that never end, and the lack of one where nodes are to join with tokens."""
    usable = [each for each in there if each.authenticates and not (each.ends and each.ends <= now)]
    for each in usable:
        if each.ends is None:
            yield Concern(
                level=Level.WARNING,
                rule=Rule.TOKENS,
                text=f"bootstrap token {each.name} never ends, for a thief neither",
                fix=f"kubeadm token delete {each.name}; kubeadm token create --ttl 24h",
            )
    joining = [each for each in usable if duties.bootstrap_group in each.groups]
    if duties.policy.bootstrap_groups and not joining:
        yield Concern(
            level=Level.WARNING,
            rule=Rule.TOKENS,
            text=f"no bootstrap token of {duties.bootstrap_group} is valid: a node whose "
            "certificate has ended cannot come back by itself",
            fix="kubeadm token create --ttl 24h, or leave `policy.bootstrap_groups` empty",
        )


def ages(
    served: Sequence[tuple[KubeletEndpoint, ParsedCertificate]], now: datetime
) -> Iterator[Concern]:
    """Find kubelets whose serving certificate has ended, or should have been replaced long ago."""
    left = sorted(
        ((leaf.not_after - now) / (leaf.not_after - leaf.not_before), each.node)
        for each, leaf in served
    )
    for level, text, nodes in (
        (Level.CRITICAL, "has ended", [node for share, node in left if share <= 0]),
        (
            Level.WARNING, f"has less than {LATE:.0%} of its life left",
            [node for share, node in left if 0 < share < LATE],
        ),
    ):  # fmt: skip
        if nodes:
            more = f" (and of {len(nodes) - 1} more)" if len(nodes) > 1 else ""
            yield Concern(
                level=level,
                rule=Rule.SERVING,
                text=f"the serving certificate of {nodes[0]}{more} {text}",
                fix="does that kubelet have serverTLSBootstrap: true, and are its requests "
                "approved? `certrotd kubelet status` on the node",
            )


def authorities(
    there: tuple[ParsedCertificate, ...], life: timedelta, now: datetime
) -> Iterator[Concern]:
    """Compare what is left of the signing CA's life with what its certificates are to have."""
    if not there:
        yield Concern(
            level=Level.WARNING,
            rule=Rule.SIGNING_CA,
            text="the CA that signs for kubelets is not known here",
            fix="name its certificate with kubelet_approver.guard.signing_ca",
        )
    for each in there:
        left = each.not_after - now
        if left < life:
            yield Concern(
                level=Level.CRITICAL if left < min(life / 2, 30 * DAY) else Level.WARNING,
                rule=Rule.SIGNING_CA,
                text=f"the signing CA {each.common_name or each.subject} ends in {left.days} days "
                f"and its certificates are to live {life.days}: they are cut short or refused",
                fix="make the next CA, add it to --client-ca-file and to what kubelets trust, then "
                "sign with it",
            )


def _is_unsigned(request: SubmittedRequest) -> bool:
    answered = request.certificate or request.denied is not None or request.failed is not None
    return request.approved is not None and not answered


def _is_refused(request: SubmittedRequest) -> bool:
    return request.denied is not None or request.failed is not None


def _minutes(length: timedelta) -> str:
    return f"{int(length.total_seconds() // 60)} minutes"


def read_authorities(pem: bytes) -> tuple[ParsedCertificate, ...]:
    """Read CA certificates.

    Raises:
        ValueError: there are none.
    """
    return tuple(map(x509.parse_certificate, x509.split_pem(pem)))
