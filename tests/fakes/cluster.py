"""A cluster in memory: requests, nodes, events, a Lease."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from certrotd.core.errors import ApiUnavailable, TransientError
from certrotd.core.model.kubelets import NodeFacts, Purpose, SubmittedRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from certrotd.core.model import ParsedCertificate
    from certrotd.core.model.kubelets import BootstrapToken, KubeletEndpoint, Verdict
    from tests.fakes.clock import FakeClock

USAGES = {
    Purpose.CLIENT: ("digital signature", "client auth"),
    Purpose.SERVING: ("digital signature", "server auth"),
}


@dataclass
class FakeCluster:
    """What all clients of one API server see.

    `away` is what every call fails with; `holder` has the Lease since `renewed` (monotonic);
    `rights` are pairs of group and subresource.
    """

    clock: FakeClock
    requests: dict[str, SubmittedRequest] = field(default_factory=dict)
    nodes: dict[str, NodeFacts] = field(default_factory=dict)
    recorded: list[tuple[str, Verdict]] = field(default_factory=list)
    away: Exception | None = None
    holder: str = ""
    renewed: float = 0.0
    rights: set[tuple[str, str]] = field(default_factory=set)
    tokens: tuple[BootstrapToken, ...] = ()
    kubelets: tuple[KubeletEndpoint, ...] = ()
    happened: deque[SubmittedRequest] = field(default_factory=deque)
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def version(self) -> str:
        return str(next(self._versions))

    def put(self, request: SubmittedRequest) -> SubmittedRequest:
        """Store an object as it is now, with a new version."""
        kept = replace(request, version=self.version())
        self.requests[kept.name] = kept
        self.happened.append(kept)
        return kept

    def reach(self) -> None:
        """Raise what calls fail with now, if anything."""
        if self.away:
            raise self.away


@dataclass
class FakeSigningRequests:
    """One client of the cluster, as the user that it authenticates as."""

    cluster: FakeCluster
    username: str = "system:node:node-1"
    groups: tuple[str, ...] = ("system:nodes", "system:authenticated")
    _listed: bool = False

    def submit(
        self,
        name: str,
        purpose: Purpose,
        csr_pem: bytes,
        lifetime: timedelta | None,
        *,
        rsa: bool = False,
    ) -> SubmittedRequest:
        self.cluster.reach()
        if name in self.cluster.requests:
            raise ApiUnavailable(f"{name} already exists", status=409)
        usages = USAGES[purpose]
        return self.cluster.put(
            SubmittedRequest(
                name=name,
                uid=f"uid-{self.cluster.version()}",
                signer=purpose.value,
                username=self.username,
                groups=self.groups,
                usages=(usages[0], "key encipherment", usages[1]) if rsa else usages,
                lifetime=lifetime,
                request=csr_pem,
                created_at=self.cluster.clock.now().replace(microsecond=0),
            )
        )

    def look(self, name: str) -> SubmittedRequest | None:
        self.cluster.reach()
        return self.cluster.requests.get(name)

    def everything(self) -> Iterator[SubmittedRequest]:
        self.cluster.reach()
        signers = set(Purpose)
        yield from [each for each in self.cluster.requests.values() if each.signer in signers]

    def stream(self, seconds: float) -> Iterator[SubmittedRequest]:
        self.cluster.reach()
        if not self._listed:
            self.cluster.happened.clear()
            self._listed = True
            yield from self.everything()
        while self.cluster.happened:
            # As it was then: a watch tells what happened, one after the other.
            found = self.cluster.happened.popleft()
            if found.signer in set(Purpose):
                yield found
        self.cluster.clock.sleep(seconds)

    def approve(self, request: SubmittedRequest, verdict: Verdict) -> SubmittedRequest:
        now = self.cluster.clock.now().replace(microsecond=0)
        return self._change(replace(request, approved=verdict.detail, approved_at=now))

    def deny(self, request: SubmittedRequest, verdict: Verdict) -> None:
        self._change(replace(request, denied=verdict.detail))

    def deliver(self, request: SubmittedRequest, chain: tuple[bytes, ...]) -> None:
        self._change(replace(request, certificate=b"".join(chain)))

    def fail(self, request: SubmittedRequest, detail: str) -> None:
        self._change(replace(request, failed=detail))

    def _change(self, changed: SubmittedRequest) -> SubmittedRequest:
        self.cluster.reach()
        present = self.cluster.requests.get(changed.name)
        if present is None or present.version != changed.version:
            raise ApiUnavailable(f"{changed.name} has been modified", status=409)
        return self.cluster.put(changed)


@dataclass
class FakeNodes:
    """The cluster's nodes."""

    cluster: FakeCluster

    def facts(self, name: str) -> NodeFacts:
        self.cluster.reach()
        return self.cluster.nodes.get(name) or NodeFacts(name=name, exists=False)


@dataclass
class FakeRecorder:
    """Keeps what was recorded in the cluster."""

    cluster: FakeCluster

    def record(self, request: SubmittedRequest, verdict: Verdict) -> None:
        self.cluster.reach()
        self.cluster.recorded.append((request.name, verdict))


@dataclass
class FakeLeadership:
    """One of several instances, with a Lease of 15 s in the cluster."""

    cluster: FakeCluster
    identity: str = "me"
    duration: float = 15.0
    problem: str = ""

    def lead(self) -> bool:
        cluster, now = self.cluster, self.cluster.clock.monotonic()
        ours = cluster.holder == self.identity
        if cluster.away:
            self.problem = str(cluster.away)
            return ours and now - cluster.renewed < self.duration
        self.problem = ""
        if ours or not cluster.holder or now - cluster.renewed > self.duration:
            cluster.holder, cluster.renewed = self.identity, now
        return cluster.holder == self.identity

    def release(self) -> None:
        if self.cluster.holder == self.identity and not self.cluster.away:
            self.cluster.holder = ""


@dataclass
class FakeInspection:
    """Who may do what, and tokens."""

    cluster: FakeCluster

    def may_create(self, subresource: str, user: str, groups: tuple[str, ...]) -> bool:
        del user
        self.cluster.reach()
        return any((group, subresource) in self.cluster.rights for group in groups)

    def tokens(self) -> tuple[BootstrapToken, ...]:
        self.cluster.reach()
        return self.cluster.tokens

    def kubelets(self) -> tuple[KubeletEndpoint, ...]:
        self.cluster.reach()
        return self.cluster.kubelets


@dataclass
class FakeHandshakes:
    """What kubelets present, by the name of the node; who is not in there does not answer."""

    leaves: dict[str, ParsedCertificate] = field(default_factory=dict)

    def leaf(self, endpoint: KubeletEndpoint) -> ParsedCertificate:
        if endpoint.node not in self.leaves:
            raise TransientError("nobody answers")
        return self.leaves[endpoint.node]
