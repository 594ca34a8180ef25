"""Typed builders of the values that tests are made of.

`Lab` is a certificate authority that lives for one test; `make_spec` says what a certificate
must be; `lab.issue(spec)` gives a verified pair the way the rotator makes one.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from certrotd.adapters.ca import AuthorityIssuer, create_authority
from certrotd.core import x509
from certrotd.core.model import (
    ActivationKind,
    CertificateName,
    CertificateSpec,
    Component,
    ComponentName,
    Issued,
    IssuerName,
    KeyAlgorithm,
    Output,
    OutputKind,
    SigningRequest,
    Usage,
    Verified,
)
from certrotd.core.verify import verify
from tests.authorities import Authority

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
"""The present of every test that does not look at the real clock."""
SKEW = timedelta(seconds=30)
SERVER = (Usage.DIGITAL_SIGNATURE, Usage.SERVER_AUTH)
CLIENT = (Usage.DIGITAL_SIGNATURE, Usage.CLIENT_AUTH)


def make_outputs(directory: Path, name: str = "server", mode: int = 0o600) -> tuple[Output, ...]:
    """Certificate, key and CA below `directory`, as most components read them."""
    return (
        Output(path=str(directory / f"{name}.crt"), kind=OutputKind.CERTIFICATE, mode=0o644),
        Output(path=str(directory / f"{name}.key"), kind=OutputKind.KEY, mode=mode),
        Output(path=str(directory / f"{name}-ca.crt"), kind=OutputKind.CA, mode=0o644),
    )


def make_spec(directory: Path, name: str = "server", **changes: Any) -> CertificateSpec:
    """A server certificate for localhost and 127.0.0.1, P-256, seven days."""
    spec = CertificateSpec(
        name=CertificateName(name),
        component=ComponentName(name),
        issuer=IssuerName("lab"),
        role=name,
        common_name=f"{name}.example",
        dns_names=("localhost",),
        ip_addresses=(ip_address("127.0.0.1"),),
        usages=SERVER,
        key=KeyAlgorithm.ECDSA_P256,
        ttl=timedelta(days=7),
        outputs=make_outputs(directory, name),
    )
    return replace(spec, **changes)


def make_client_spec(directory: Path, name: str = "client", **changes: Any) -> CertificateSpec:
    """A client identity without any SAN, as the control plane's own are."""
    identity: dict[str, Any] = {
        "common_name": f"system:{name}",
        "organizations": ("system:masters",),
        "dns_names": (),
        "ip_addresses": (),
        "usages": CLIENT,
    }
    return make_spec(directory, name, **(identity | changes))


def make_component(*certificates: CertificateSpec, **changes: Any) -> Component:
    """A component that keeps these certificates and reloads by itself."""
    component = Component(
        name=certificates[0].component if certificates else ComponentName("server"),
        certificates=certificates,
        activation=ActivationKind.RELOAD,
        proof_deadline=timedelta(seconds=10),
        settle=timedelta(0),
    )
    return replace(component, **changes)


def make_request(spec: CertificateSpec) -> tuple[x509.PrivateKey, SigningRequest]:
    """A fresh key and the request for it."""
    key = x509.new_key(spec.key)
    return key, SigningRequest(spec=spec, csr_pem=x509.build_csr(key, spec))


class Lab:
    """A root CA in memory, and pairs it signed.

    Every lab is another CA; give `intermediate=True` for one that signs with an intermediate.
    """

    def __init__(
        self, now: datetime = NOW, *, common_name: str = "lab root", intermediate: bool = False
    ) -> None:
        self.now = now
        self.certificate, self.key = create_authority(common_name, now, timedelta(days=3650))
        self.anchors: tuple[bytes, ...] = (self.certificate,)
        self.signer = (self.certificate, self.key)
        if intermediate:
            root = Authority.adopt(self.certificate, self.key)
            below = root.issue_authority("lab intermediate", now)
            self.signer = (below.pem, below.secret)

    def issuer(self, now: datetime | None = None) -> AuthorityIssuer:
        """The `ca` issuer over this CA, at a time that stands still."""
        at = now or self.now
        return AuthorityIssuer(*self.signer, clock=lambda: at, anchors=self.anchors)

    def issued(self, spec: CertificateSpec, now: datetime | None = None) -> Issued:
        """A key and an answer that nobody has verified yet."""
        key, request = make_request(spec)
        return Issued(
            spec=spec,
            private_key=x509.key_pem(key),
            chain=self.issuer(now).sign(request).chain,
            issued_at=now or self.now,
        )

    def issue(self, spec: CertificateSpec, now: datetime | None = None) -> Verified:
        """A verified pair."""
        return verify(self.issued(spec, now), self.anchors, now or self.now, SKEW)

    def issue_all(
        self, specs: Iterable[CertificateSpec], now: datetime | None = None
    ) -> dict[CertificateName, Verified]:
        """A verified pair for each."""
        return {spec.name: self.issue(spec, now) for spec in specs}


@functools.cache
def lab() -> Lab:
    """One lab for all tests that only need some CA."""
    return Lab()


def make_verified(directory: Path, name: str = "server", **changes: Any) -> Verified:
    """A verified pair of the common lab, made from `make_spec(directory, name, **changes)`."""
    return lab().issue(make_spec(directory, name, **changes))
