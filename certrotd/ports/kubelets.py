"""What the kubelets' path needs of the cluster; tests/fakes/ holds one fake for each.

Whatever the API server answers becomes a TransientError (trying later can help: it is away, busy,
or was changed meanwhile) or a PermanentError (it said no).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from certrotd.core.model.kubelets import NodeFacts, Purpose, SubmittedRequest, Verdict


class SigningRequests(Protocol):
    """CertificateSigningRequest objects (certificates.k8s.io/v1)."""

    def submit(
        self, name: str, purpose: Purpose, csr_pem: bytes, lifetime: timedelta | None
    ) -> SubmittedRequest:
        """Create one; the usages follow from purpose and key.

        Raises:
            TransientError, PermanentError: see above.
        """

    def look(self, name: str) -> SubmittedRequest | None:
        """Return one as it is now; None if it is gone.

        Raises:
            TransientError, PermanentError: see above.
        """

    def stream(self, seconds: float) -> Iterator[SubmittedRequest]:
        """Yield all there are, then what becomes of them and new ones, for so many seconds.

        Only those for a kubelet's two signers. An interrupted stream goes on where it was, or
        begins anew; an object may come more than once.

        Raises:
            TransientError, PermanentError: see above.
        """

    def approve(self, request: SubmittedRequest, verdict: Verdict) -> None:
        """Write the condition Approved, unless the object changed since it was seen.

        Raises:
            TransientError, PermanentError: see above.
        """

    def deny(self, request: SubmittedRequest, verdict: Verdict) -> None:
        """Write the condition Denied, unless the object changed since it was seen.

        Raises:
            TransientError, PermanentError: see above.
        """

    def deliver(self, request: SubmittedRequest, chain: tuple[bytes, ...]) -> None:
        """Write `status.certificate`, PEM, leaf first.

        Raises:
            TransientError, PermanentError: see above.
        """

    def fail(self, request: SubmittedRequest, detail: str) -> None:
        """Write the condition Failed: the signer will not sign it.

        Raises:
            TransientError, PermanentError: see above.
        """


class Nodes(Protocol):
    """What the cluster knows of nodes."""

    def facts(self, name: str) -> NodeFacts:
        """Return what is known of one node; whatever cannot be learnt is an error, never a no.

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
    """One leader among several instances: a Lease (coordination.k8s.io/v1)."""

    def lead(self) -> bool:
        """Take the Lease if it is free, renew it if it is ours; tell whether we lead.

        Never raises: who cannot reach the API server does not lead once its last renewal is
        older than the Lease's duration, by the monotonic clock.
        """

    def release(self) -> None:
        """Give it up, so that a standby need not wait."""
