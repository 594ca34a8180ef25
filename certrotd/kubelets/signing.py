"""The signer of kubelets' requests: somebody else's key, our issuer, every answer verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.core import approval, x509
from certrotd.core.errors import PermanentError
from certrotd.core.model import (
    CertificateName,
    CertificateSpec,
    ComponentName,
    KeyAlgorithm,
    SigningRequest,
    Usage,
)
from certrotd.core.verify import verify_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from certrotd.core.model import IssuerName, ParsedCertificate
    from certrotd.core.model.kubelets import ApprovalPolicy, Purpose, SubmittedRequest
    from certrotd.ports import Clock, Issuer

KUBELET = ComponentName("kubelet")


class Unsignable(PermanentError):
    """A request that nobody may sign, whoever approved it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Who signs for one purpose, with which role, and for how long if the request does not say."""

    issuer: Issuer
    issuer_name: IssuerName
    role: str
    ttl: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What is delivered, PEM, leaf first without the anchor; and its leaf."""

    leaf: ParsedCertificate
    chain: tuple[bytes, ...]


class Signer:
    """Has approved requests signed; `skew` is how far clocks may be apart."""

    def __init__(
        self,
        terms: Mapping[Purpose, Terms],
        policy: ApprovalPolicy,
        clock: Clock,
        skew: timedelta,
    ) -> None:
        self._terms = terms
        self._policy = policy
        self._clock = clock
        self._skew = skew

    def serves(self, request: SubmittedRequest) -> bool:
        """Tell whether requests of this signer are signed here."""
        return any(request.signer == purpose for purpose in self._terms)

    def sign(self, request: SubmittedRequest) -> Signed:
        """Return a certificate that is exactly what the request asks for.

        Raises:
            Unsignable: it asks for what is no kubelet's, whoever approved it.
            IssuerUnavailable, IssuerRefused: it was not signed.
            Rejected: what came back is something else; it was not delivered.
        """
        if verdict := approval.objection(request, self._policy):
            raise Unsignable(f"{verdict.rule}: {verdict.detail}")
        terms = next(each for name, each in self._terms.items() if name == request.signer)
        spec = self._spec(request, terms)
        parsed = x509.parse_request(request.request)
        answer = terms.issuer.sign(SigningRequest(spec=spec, csr_pem=request.request))
        leaf, chain = verify_for(
            spec,
            answer.chain,
            parsed.public_key,
            terms.issuer.anchors(),
            self._clock.now(),
            self._skew,
        )
        return Signed(leaf=leaf, chain=chain)

    def _spec(self, request: SubmittedRequest, terms: Terms) -> CertificateSpec:
        parsed = x509.parse_request(request.request)
        (common_name,) = parsed.common_names
        return CertificateSpec(
            name=CertificateName(request.name),
            component=KUBELET,
            issuer=terms.issuer_name,
            role=terms.role,
            common_name=common_name,
            organizations=parsed.organizations,
            dns_names=parsed.dns_names,
            ip_addresses=parsed.ip_addresses,
            usages=tuple(Usage(each) for each in request.usages),
            key=KeyAlgorithm(parsed.key),
            ttl=min(request.lifetime or terms.ttl, self._policy.longest),
            outputs=(),
        )
