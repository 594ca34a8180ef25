"""What the kubelets' path needs of the cluster; tests/fakes/ holds one fake for each.

Whatever the API server answers becomes a TransientError (trying later can help: it is away, busy,
or was changed meanwhile) or a PermanentError (it said no).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta
    from ipaddress import IPv4Address, IPv6Address

    from certrotd.core.model.kubelets import (
        BootstrapToken,
        KnownNames,
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
