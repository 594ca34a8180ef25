"""Requests as a kubelet makes them, and as others would."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from certrotd.core.model.kubelets import NodeFacts, Purpose, SubmittedRequest
from tests.factories import NOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

KEY = ec.generate_private_key(ec.SECP256R1())
NODE = NodeFacts(
    name="node-1",
    exists=True,
    dns_names=frozenset({"node-1", "node-1.example"}),
    ip_addresses=frozenset({ip_address("10.0.0.11"), ip_address("fd00::11")}),
    last_seen=NOW - timedelta(seconds=5),
)
CLIENT = ("digital signature", "client auth")
SERVING = ("digital signature", "server auth")


def subject(common_name: str = "system:node:node-1", *organizations: str) -> x509.Name:
    """CN and Os, each an RDN of its own; O is the nodes' group if none is given."""
    return x509.Name([
        *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, o)
          for o in organizations or ("system:nodes",)),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ])  # fmt: skip


def dns(*names: str) -> list[x509.GeneralName]:
    return [x509.DNSName(each) for each in names]


def ips(*addresses: str) -> list[x509.GeneralName]:
    return [x509.IPAddress(ip_address(each)) for each in addresses]


def pem(
    name: x509.Name | None = None,
    names: Sequence[x509.GeneralName] = (),
    *more: x509.ExtensionType,
    key: CertificateIssuerPrivateKeyTypes = KEY,
    digest: hashes.HashAlgorithm | None = None,
) -> bytes:
    """A PKCS #10 request."""
    builder = x509.CertificateSigningRequestBuilder(name or subject())
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for each in more:
        builder = builder.add_extension(each, critical=False)
    signed = builder.sign(key, digest or hashes.SHA256())  # type: ignore[arg-type]  # any hash
    return signed.public_bytes(serialization.Encoding.PEM)


def submitted(
    request: bytes, purpose: Purpose = Purpose.CLIENT, **changes: Any
) -> SubmittedRequest:
    """The object that the API server makes when node-1 asks."""
    made = SubmittedRequest(
        name="csr-abcde",
        uid="1",
        signer=purpose.value,
        username="system:node:node-1",
        groups=("system:nodes", "system:authenticated"),
        usages=CLIENT if purpose is Purpose.CLIENT else SERVING,
        lifetime=None,
        request=request,
        created_at=NOW,
    )
    return replace(made, **changes)


def serving(*names: x509.GeneralName, **changes: Any) -> SubmittedRequest:
    """A serving request for some names, by default all that node-1 has."""
    wanted = names or (*dns("node-1"), *ips("10.0.0.11"))
    return submitted(pem(None, wanted), Purpose.SERVING, **changes)
