"""What others would ask for, and the rule that stands against it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certrotd.core.model.kubelets import Purpose, Ruling
from tests.unit.requests_of_kubelets import (
    CLIENT,
    SERVING,
    dns,
    ips,
    pem,
    serving,
    subject,
    submitted,
)

if TYPE_CHECKING:
    from certrotd.core.model.kubelets import SubmittedRequest

BOOTSTRAPPER: dict[str, Any] = {
    "username": "system:bootstrap:abcdef",
    "groups": ("system:bootstrappers", "system:authenticated"),
}

ATTACKS: dict[str, tuple[SubmittedRequest, Ruling, str]] = {
    "another node's name": (
        submitted(pem(subject("system:node:node-2"))), Ruling.DENIED, "requester",
    ),
    "another O": (
        submitted(pem(subject("system:node:node-1", "system:nodes", "system:masters"))),
        Ruling.DENIED, "subject",
    ),
    "system:masters alone": (
        submitted(pem(subject("system:node:node-1", "system:masters"))), Ruling.DENIED, "subject",
    ),
    "the nodes' group twice": (
        submitted(pem(subject("system:node:node-1", "system:nodes", "system:nodes"))),
        Ruling.DENIED, "subject",
    ),
    "a CN of no node": (submitted(pem(subject("kubernetes-admin"))), Ruling.DENIED, "subject"),
    "a CN with the prefix only": (
        submitted(pem(subject("system:node:")), username="system:node:"), Ruling.DENIED, "subject",
    ),
    "two CNs": (
        submitted(pem(x509.Name([
            x509.NameAttribute(NameOID.COMMON_NAME, "system:node:node-1"),
            x509.NameAttribute(NameOID.COMMON_NAME, "system:node:node-2"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
        ]))), Ruling.DENIED, "subject",
    ),
    "an OU": (
        submitted(pem(x509.Name([
            *subject(), x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "x"),
        ]))), Ruling.DENIED, "foreign",
    ),
    "a name of two at once": (
        submitted(pem(x509.Name([x509.RelativeDistinguishedName(list(subject()))]))),
        Ruling.DENIED, "foreign",
    ),
    "a SAN in a client certificate": (
        submitted(pem(None, dns("node-1"))), Ruling.DENIED, "names",
    ),
    "a serving certificate for nothing": (
        submitted(pem(), Purpose.SERVING), Ruling.DENIED, "names",
    ),
    "a name that is not the node's": (
        serving(*dns("node-1", "node-2.example")), Ruling.PENDING, "addresses",
    ),
    "the API server's name": (
        serving(*dns("node-1", "Kubernetes")), Ruling.DENIED, "shapes",
    ),
    "a service's name": (
        serving(*dns("node-1", "kubernetes.default.svc")), Ruling.DENIED, "shapes",
    ),
    "an address of every machine": (
        serving(*ips("10.0.0.11", "127.0.0.1")), Ruling.DENIED, "shapes",
    ),
    "an address that is not the node's": (
        serving(*ips("10.0.0.11", "10.0.0.12")), Ruling.PENDING, "addresses",
    ),
    "a wildcard": (serving(*dns("*.example")), Ruling.DENIED, "shapes"),
    "a URI": (
        serving(*dns("node-1"), x509.UniformResourceIdentifier("spiffe://x")),
        Ruling.DENIED, "foreign",
    ),
    "an email address": (
        serving(*dns("node-1"), x509.RFC822Name("a@example")), Ruling.DENIED, "foreign",
    ),
    "CA:TRUE": (
        submitted(pem(None, (), x509.BasicConstraints(ca=True, path_length=None))),
        Ruling.DENIED, "foreign",
    ),
    "extended usages inside": (
        submitted(pem(None, (), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]))),
        Ruling.DENIED, "foreign",
    ),
    "a usage more": (
        submitted(pem(), usages=(*CLIENT, "server auth")), Ruling.DENIED, "usages",
    ),
    "a usage less": (submitted(pem(), usages=("client auth",)), Ruling.DENIED, "usages"),
    "cert sign": (submitted(pem(), usages=(*CLIENT, "cert sign")), Ruling.DENIED, "usages"),
    "a usage twice": (
        submitted(pem(), usages=(*CLIENT, "client auth")), Ruling.DENIED, "usages",
    ),
    "key encipherment with an EC key": (
        submitted(pem(), usages=(*CLIENT, "key encipherment")), Ruling.DENIED, "usages",
    ),
    "a serving certificate to be a client": (
        serving(usages=(*SERVING, "client auth")), Ruling.DENIED, "usages",
    ),
    "RSA-1024": (
        submitted(pem(key=rsa.generate_private_key(65537, 1024))), Ruling.DENIED, "key",
    ),
    "a curve that is not allowed": (
        submitted(pem(key=ec.generate_private_key(ec.SECP521R1()))), Ruling.DENIED, "key",
    ),
    "a hundred years": (
        submitted(pem(), lifetime=timedelta(days=36500)), Ruling.DENIED, "lifetime",
    ),
    "a second": (submitted(pem(), lifetime=timedelta(seconds=1)), Ruling.DENIED, "lifetime"),
    "who is no node": (
        submitted(pem(), username="system:serviceaccount:default:default",
                  groups=("system:serviceaccounts",)), Ruling.DENIED, "requester",
    ),
    "a node's name without its group": (
        submitted(pem(), groups=("system:authenticated",)), Ruling.DENIED, "requester",
    ),
    "a bootstrapper where none may": (
        submitted(pem(), **BOOTSTRAPPER), Ruling.DENIED, "requester",
    ),
    "a bootstrapper that wants to serve": (
        serving(**BOOTSTRAPPER), Ruling.DENIED, "requester",
    ),
    "two requests": (submitted(pem() + pem()), Ruling.DENIED, "request"),
    "a megabyte": (submitted(pem() + b"\n" * 1_000_000), Ruling.DENIED, "request"),
    "no PEM": (submitted(b"hello"), Ruling.DENIED, "request"),
    "a certificate's label": (
        submitted(pem().replace(b"CERTIFICATE REQUEST", b"CERTIFICATE")), Ruling.DENIED, "request",
    ),
    "text before it": (submitted(b"x\n" + pem()), Ruling.DENIED, "request"),
    "rubbish in the PEM": (
        submitted(b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"),
        Ruling.DENIED, "request",
    ),
}  # fmt: skip
