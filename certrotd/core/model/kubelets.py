"""The nouns of the kubelets' own path: requests of the CSR API, and what is known of nodes.

Field names and words follow `certificates.k8s.io/v1`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from certrotd.core.model.certificates import KeyAlgorithm

if TYPE_CHECKING:
    from datetime import datetime
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

NODE_PREFIX = "system:node:"
"""The user name and CN of a node begin so (Kubernetes, Node authorization)."""
NODES = "system:nodes"
"""The group and O of nodes."""
SHORTEST = timedelta(minutes=10)
"""The API server accepts no shorter `expirationSeconds`."""


class Purpose(StrEnum):
    """What a kubelet asks a certificate for: the names of its two signers."""

    CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
    SERVING = "kubernetes.io/kubelet-serving"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedRequest:
    """The facts of one PKCS #10 request (RFC 2986).

    `foreign` lists what a kubelet's request never has: other subject attributes, other kinds of
    SAN, other extensions or attributes. `key` is its type and size, `public_key` SHA-256 (hex) over
    the SubjectPublicKeyInfo, `digest` the signature's hash.
    """

    common_names: tuple[str, ...]
    organizations: tuple[str, ...]
    dns_names: tuple[str, ...]
    ip_addresses: tuple[IPv4Address | IPv6Address, ...]
    foreign: tuple[str, ...]
    key: str
    digest: str
    public_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedRequest:
    """A CertificateSigningRequest object as the API server holds it; it wrote the user itself.

    `lifetime` is `spec.expirationSeconds`, None where it is left to the signer. `version` is the
    object's resourceVersion. `approved`, `denied` and `failed` are its conditions' messages, None
    where it has no such condition, `approved_at` is when the first was written; `certificate` is
    the issued chain, PEM.
    """

    name: str
    uid: str
    signer: str
    username: str
    groups: tuple[str, ...]
    usages: tuple[str, ...]
    lifetime: timedelta | None
    request: bytes = field(repr=False)
    created_at: datetime
    version: str = ""
    approved: str | None = None
    approved_at: datetime | None = None
    denied: str | None = None
    failed: str | None = None
    certificate: bytes | None = None

    @property
    def is_open(self) -> bool:
        """Whether nobody has ruled on it yet."""
        return self.approved is None and self.denied is None and self.failed is None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNames:
    """Names and addresses of one node."""

    dns_names: frozenset[str] = frozenset()
    ip_addresses: frozenset[IPv4Address | IPv6Address] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What the cluster, and an inventory, know of one node.

    `last_seen` is when its kubelet was last there, by the control plane's clock. `approved` are the
    times at which certificates of this purpose were approved for the node.
    """

    name: str
    exists: bool
    dns_names: frozenset[str] = frozenset()
    ip_addresses: frozenset[IPv4Address | IPv6Address] = frozenset()
    last_seen: datetime | None = None
    approved: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletEndpoint:
    """Where the kubelet of a node serves TLS."""

    node: str
    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapToken:
    """What is not secret of a bootstrap token; without `ends` it never ends."""

    name: str
    ends: datetime | None
    authenticates: bool
    groups: tuple[str, ...] = ()


RESERVED = ("localhost", ".localhost", "kubernetes", "kubernetes.default", ".svc", ".cluster.local")
"""Names of every machine, of the API server, of services."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPolicy:
    """What is approved; everything else is not.

    `bootstrap_groups` may ask for the first client certificate of a node that does not exist, or
    was not seen for `rejoin_after`. `networks` (none: all but loopback and multicast) are where
    serving addresses may lie. `reserved_names` are never certified; one that begins with a dot
    stands for all below it.
    `per_hour` bounds the approvals of one node and purpose. A second certificate is not approved
    while the first is younger than `not_within`.
    """

    purposes: frozenset[Purpose] = frozenset(Purpose)
    bootstrap_groups: frozenset[str] = frozenset()
    rejoin_after: timedelta = timedelta(hours=1)
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    keys: frozenset[KeyAlgorithm] = frozenset(KeyAlgorithm)
    shortest: timedelta = timedelta(minutes=10)
    longest: timedelta = timedelta(days=366)
    per_hour: int = 6
    not_within: timedelta = timedelta(0)
    most_dns_names: int = 4
    reserved_names: tuple[str, ...] = RESERVED


class Ruling(StrEnum):
    """What becomes of a request."""

    APPROVED = "approved"
    DENIED = "denied"  # it can never become right
    PENDING = "pending"  # it is not right now, or not yet
    PASSED_OVER = "passed_over"  # somebody else's signer, or answered already


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The ruling, the rule that decided, and what a person should read."""

    ruling: Ruling
    rule: str
    detail: str
