"""What the kubelets' path needs of the cluster; tests/fakes/ holds one fake for each.

Whatever the API server answers becomes a TransientError (trying later can help: it is away, busy,
or was changed meanwhile) or a PermanentError (it said no).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta
    from ipaddress import IPv4Address, IPv6Address

    from certrotd.core.errors import PermanentError
    from certrotd.core.kubelets import Held, Record
    from certrotd.core.model import ParsedCertificate, Secret
    from certrotd.core.model.kubelets import (
        BootstrapToken,
        KnownNames,
        KubeletEndpoint,
        NodeFacts,
        Purpose,
        SubmittedRequest,
        Verdict,
    )


class SigningRequests(Protocol):
    """CertificateSigningRequest objects (certificates.k8s.io/v1)."""

    def submit(
        self,
        name: str,
        purpose: Purpose,
        csr_pem: bytes,
        lifetime: timedelta | None,
        *,
        rsa: bool = False,
    ) -> SubmittedRequest:
        """Create one; RSA keys are asked for with key encipherment, as a kubelet does.

        Raises:
            TransientError, PermanentError: see above.
        """

    def look(self, name: str) -> SubmittedRequest | None:
        """Return one as it is now; None if it is gone.

        Raises:
            TransientError, PermanentError: see above.
        """

    def everything(self) -> Iterator[SubmittedRequest]:
        """Yield all there are for a kubelet's two signers.

        Raises:
            TransientError, PermanentError: see above.
        """

    def stream(self, seconds: float) -> Iterator[SubmittedRequest]:
        """Yield new ones and what becomes of the others, for about so many seconds.

        Only those for a kubelet's two signers. The first call yields all there are before; each
        further one goes on where the one before ended. Where that is not known any more, all
        there are come again: an object may come more than once.

        Raises:
            TransientError, PermanentError: see above.
        """

    def approve(self, request: SubmittedRequest, verdict: Verdict) -> SubmittedRequest:
        """Write the condition Approved, unless the object changed since; return what it is then.

        Raises:
            TransientError, PermanentError: see above.
        """

    def deny(self, request: SubmittedRequest, verdict: Verdict) -> None:
        """Write the condition Denied, unless the object changed since it was seen.

        Raises:
            TransientError, PermanentError: see above.
        """

    def deliver(self, request: SubmittedRequest, chain: tuple[bytes, ...]) -> None:
        """Write `status.certificate`, PEM, leaf first, unless the object changed since.

        Raises:
            TransientError, PermanentError: see above.
        """

    def fail(self, request: SubmittedRequest, detail: str) -> None:
        """Write the condition Failed: the signer will never sign it.

        Raises:
            TransientError, PermanentError: see above.
        """


class Nodes(Protocol):
    """What the cluster knows of nodes."""

    def facts(self, name: str) -> NodeFacts:
        """Return what is known of one node; whatever cannot be learnt is an error, never a no.

        What was learnt a few seconds ago may be told again.

        Raises:
            TransientError, PermanentError: see above.
        """


class Recorder(Protocol):
    """Events that people see with `kubectl describe`."""

    def record(self, request: SubmittedRequest, verdict: Verdict) -> None:
        """Tell of a verdict on a request.

        Raises:
            TransientError, PermanentError: see above.
        """


class Leadership(Protocol):
    """One leader among several instances: a Lease (coordination.k8s.io/v1).

    `problem` is what kept the last look at the Lease from succeeding, empty if nothing did.
    """

    problem: str

    def lead(self) -> bool:
        """Take the Lease if it is free, renew it in time if it is ours; tell whether we lead.

        Cheap: it may be asked before each thing that only the leader does. Never raises: who
        cannot reach the API server leads no more some time before the Lease ends, by the monotonic
        clock.
        """

    def release(self) -> None:
        """Give it up, so that a standby need not wait; never raises."""


class Inventory(Protocol):
    """Names and addresses that somebody else than the cluster vouches for."""

    def of(self, node: str) -> KnownNames:
        """Return those of one node; none if it is not in there.

        Raises:
            TransientError, PermanentError: it cannot be read.
        """


class Resolver(Protocol):
    """The DNS."""

    def addresses(self, name: str) -> frozenset[IPv4Address | IPv6Address]:
        """Return what a name resolves to; nothing if there is no such name.

        Raises:
            TransientError: it cannot be told now.
        """


class Inspection(Protocol):
    """What a guard of the path looks at."""

    def may_create(self, subresource: str, user: str, groups: tuple[str, ...]) -> bool:
        """Tell whether somebody may create `certificatesigningrequests`, or a subresource of it.

        Raises:
            TransientError, PermanentError: see above.
        """

    def tokens(self) -> tuple[BootstrapToken, ...]:
        """Return the bootstrap tokens there are.

        Raises:
            TransientError, PermanentError: see above.
        """

    def kubelets(self) -> tuple[KubeletEndpoint, ...]:
        """Return where the kubelets of all nodes serve.

        Raises:
            TransientError, PermanentError: see above.
        """


class Handshakes(Protocol):
    """Certificates that servers present."""

    def leaf(self, endpoint: KubeletEndpoint) -> ParsedCertificate:
        """Return what is presented, whoever signed it.

        Raises:
            TransientError: nothing could be read within a few seconds.
        """


class OwnStore(Protocol):
    """Where this node's kubelet keeps its certificates, in the kubelet's own format."""

    def read(self, purpose: Purpose) -> Held:
        """Return what the kubelet would find if it started now; never raises for what it sees."""

    def write(
        self, purpose: Purpose, chain: tuple[bytes, ...], private_key: Secret, at: datetime
    ) -> str:
        """Make a new pair the current one, by one rename, durably; return its path.

        Raises:
            PublishRefused: nothing changed.
            PublishUncertain: the switch happened but the disk did not confirm it.
        """

    def kubeconfig_problem(self, now: datetime) -> str:
        """Say why the kubelet's kubeconfig keeps it from starting; empty if it does not."""

    def write_kubeconfig(self, content: bytes) -> None:
        """Put a kubeconfig in place, keeping a copy of what was there.

        Raises:
            PublishRefused: nothing changed.
        """


class Records(Protocol):
    """What is remembered of the requests of this node, the key of an open one among it."""

    def load(self, purpose: Purpose) -> Record:
        """Return what was saved last.

        Raises:
            PublishRefused: the disk reports an error.
        """

    def save(self, purpose: Purpose, record: Record) -> None:
        """Remember it durably, readable by nobody else.

        Raises:
            PublishRefused: it is not remembered; the effect it stands for must not happen.
        """


class Asker(Protocol):
    """One identity of this node at the API server."""

    @property
    def who(self) -> str:
        """How people call it: a certificate's path, or where a token came from."""

    @property
    def by_token(self) -> bool:
        """Whether it is the bootstrap credential."""

    @property
    def requests(self) -> SigningRequests:
        """Requests as this identity."""

    @property
    def nodes(self) -> Nodes:
        """Nodes as this identity."""


class Access(Protocol):
    """As whom this node asks."""

    def node(self, held: Held) -> Asker:
        """Return the node itself, by the client certificate it has."""

    def bootstrap(self) -> Asker | None:
        """Return who asks for the first certificate of a node; None if nobody is configured.

        Raises:
            TransientError, PermanentError: the credential cannot be had.
        """

    def bootstrap_problem(self) -> PermanentError | None:
        """Say why there is no bootstrap credential; None if there is, or files cannot tell."""
