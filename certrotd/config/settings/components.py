"""Sections about components, their certificates and outputs."""

# No `from __future__ import annotations`: the annotations are read while certrotd runs.

from collections.abc import Mapping
from datetime import timedelta

from certrotd.config.section import Section
from certrotd.config.settings.activations import Activation
from certrotd.config.settings.probes import Gate, Proof
from certrotd.config.settings.words import (
    Address,
    DnsName,
    Duration,
    Flag,
    HttpsUrl,
    Mode,
    Mount,
    Name,
    Path,
    Period,
    Text,
    Uri,
)
from certrotd.core.model import KeyAlgorithm, Usage


class Output(Section):
    """One file the component reads; exactly one of the kinds gives its path."""

    one_of = ("certificate", "key", "combined", "ca", "kubeconfig")
    certificate: Path | None = None
    """Leaf and its intermediates."""
    key: Path | None = None
    """The private key, PKCS #8."""
    combined: Path | None = None
    """Leaf, intermediates and key in one file."""
    ca: Path | None = None
    """The issuer's pinned trust anchors."""
    kubeconfig: Path | None = None
    """A kubeconfig with this identity."""
    mode: Mode | None = None
    """File mode; 0600 with a key inside, else 0644."""
    owner: Text | None = None
    """User name or number."""
    group: Text | None = None
    """Group name or number."""
    server: HttpsUrl | None = None
    """kubeconfig: the API server's address."""
    cluster: Text | None = None
    """kubeconfig: the cluster's name; `kubernetes` if left out."""
    user: Text | None = None
    """kubeconfig: the user's name; the common name if left out."""
    embed: Flag | None = None
    """kubeconfig: put certificate, key and CA inside (`true`, also if left out), or name the
    sibling outputs (`false`)."""
    ca_file: Path | None = None
    """kubeconfig: the API server's CA; the issuer's trust anchors if left out."""
    material: Text | None = None
    """What the file is to the component, in the words of the reload matrix."""


class Certificate(Section):
    """What a certificate must be; the answer is compared exactly."""

    issuer: Name
    """The name of an entry under `issuers`."""
    role: Mount | None = None
    """The issuer's role (Vault); the certificate's name if left out."""
    common_name: Text
    """Subject CN."""
    organizations: tuple[Text, ...] = ()
    """Subject O."""
    dns_names: tuple[DnsName, ...] = ()
    """SAN DNS names."""
    ip_addresses: tuple[Address, ...] = ()
    """SAN IP addresses."""
    uris: tuple[Uri, ...] = ()
    """SAN URIs."""
    usages: tuple[Usage, ...]
    """Key usages in the words of the Kubernetes certificates API."""
    key: KeyAlgorithm | None = None
    """Key type and size."""
    ttl: Period | None = None
    """How long it shall be valid; at least three days, as it is replaced daily."""
    material: Text | None = None
    """What the pair is to the component, in the words of the reload matrix; for its outputs."""
    outputs: tuple[Output, ...]
    """The files to publish; the first one's directory holds the generations."""


class ReadFile(Section):
    """A file the component reads and certrotd does not write, as a CA file or a signing key."""

    path: Path
    """Where it is."""
    material: Text
    """What it is to the component, in the words of the reload matrix."""


class Component(Section):
    """A process whose certificates we keep."""

    after: tuple[Name, ...] = ()
    """Components that must be done before this one."""
    activation: Activation
    """How it comes to use a published certificate."""
    proofs: tuple[Proof, ...] = ()
    """Evidence that the running process uses it."""
    gates: tuple[Gate, ...] = ()
    """Health that must hold before and after."""
    proof_deadline: Period = timedelta(seconds=60)
    """How long proofs and gates may take to hold after activation."""
    settle: Duration = timedelta(0)
    """How long the gates must hold without a break."""
    reads: tuple[ReadFile, ...] = ()
    """What else it reads; with `auto`, a change after its start makes a restart due where the
    matrix says so."""
    certificates: Mapping[Name, Certificate]
    """Its certificates by name; names are unique on the node."""
