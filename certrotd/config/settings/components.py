"""Sections about components: certificates, outputs, activation, proofs and gates."""

# No `from __future__ import annotations`: the annotations are read while certrotd runs.

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

from certrotd.config.section import Section
from certrotd.config.settings.words import (
    Address,
    Argument,
    DnsName,
    Duration,
    Flag,
    Host,
    HostPort,
    HttpsUrl,
    Mode,
    Mount,
    Name,
    Path,
    Period,
    Status,
    Text,
    Unit,
    Uri,
)
from certrotd.core.model import KeyAlgorithm, Usage


class Signal(Section):
    """Send a signal to the process."""

    one_of = ("pidfile", "unit")
    signal: Literal["HUP", "USR1", "USR2", "TERM", "INT", "QUIT", "WINCH"] = "HUP"
    """The signal's name."""
    pidfile: Path | None = None
    """A file with the process id, read each time."""
    unit: Unit | None = None
    """A systemd unit; its main process gets the signal."""
    process: Text | None = None
    """Only processes of this name (of the unit's, or the pidfile's) get it."""


class Restart(Section):
    """Restart a systemd unit and wait until it is active."""

    unit: Unit
    """The unit's name."""
    timeout: Period = timedelta(seconds=90)
    """How long the restart may take."""


class Command(Section):
    """Run a program: no shell, a clean environment, a time limit."""

    command: tuple[Argument, ...]
    """The program (absolute path) and its arguments."""
    timeout: Period = timedelta(seconds=30)
    """After this time the program and its children are ended."""


class ActivationCommand(Command):
    """Run a program that makes the component use what is published."""

    only_if: tuple[Argument, ...] = ()
    """A program that exits 0 when the component is up; otherwise it is left down."""


class Nothing(Section):
    """No settings."""


class Activation(Section):
    """How the process comes to use a published certificate; exactly one."""

    one_of = ("reload", "signal", "restart", "exec", "none")
    reload: Nothing | None = None
    """It re-reads its files by itself; the proofs show that it did."""
    signal: Signal | None = None
    """Send a signal."""
    restart: Restart | None = None
    """Restart a systemd unit."""
    exec: ActivationCommand | None = None
    """Run a program."""
    none: Nothing | None = None
    """Nothing is done."""


class TlsProof(Section):
    """The leaf served on a fresh TLS handshake is the published one."""

    address: HostPort
    """Where the component listens."""
    certificate: Name
    """Which of the component's certificates is served there."""
    server_name: Host | None = None
    """The name to ask for (SNI)."""
    client_certificate: Name | None = None
    """A certificate of this node to present, where the server insists."""


class ClientProof(Section):
    """An authenticated HTTPS call with the published client certificate."""

    url: HttpsUrl
    """What to get."""
    certificate: Name
    """Which of the component's certificates to present."""
    ca_file: Path
    """The CA of the server asked."""
    status: tuple[Status, ...] = (200,)
    """The statuses that hold."""


class StartedProof(Section):
    """The process started after the publication."""

    one_of = ("pidfile", "unit")
    pidfile: Path | None = None
    """A file with the process id."""
    unit: Unit | None = None
    """A systemd unit; its main process counts."""


class Proof(Section):
    """Evidence from the running process; exactly one kind."""

    one_of = ("tls", "client", "started")
    tls: TlsProof | None = None
    """The served leaf."""
    client: ClientProof | None = None
    """An authenticated call."""
    started: StartedProof | None = None
    """The process's start."""


class HttpGate(Section):
    """An HTTPS path answers with an expected status."""

    url: HttpsUrl
    """What to get."""
    status: tuple[Status, ...] = (200,)
    """The statuses that hold."""
    ca_file: Path
    """The CA of the server asked."""
    client_certificate: Name | None = None
    """A certificate of this node to present."""
    contains: Argument | None = None
    """Text that must stand in the answer's first 64 KiB."""


class TcpGate(Section):
    """A TCP connection is accepted."""

    address: HostPort
    """Where to connect."""


class Gate(Section):
    """Health that must hold; exactly one kind."""

    one_of = ("https", "tcp", "exec")
    https: HttpGate | None = None
    """An HTTPS path."""
    tcp: TcpGate | None = None
    """A TCP connection."""
    exec: Command | None = None
    """A program that exits 0."""


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
    outputs: tuple[Output, ...]
    """The files to publish; the first one's directory holds the generations."""


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
    certificates: Mapping[Name, Certificate]
    """Its certificates by name; names are unique on the node."""
