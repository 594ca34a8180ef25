"""Sections about proofs and gates: evidence from the running process, and its health."""

# No `from __future__ import annotations`: the annotations are read while certrotd runs.

from datetime import timedelta

from certrotd.config.section import Section
from certrotd.config.settings.activations import Command
from certrotd.config.settings.words import (
    Argument,
    Host,
    HostPort,
    HttpsUrl,
    Name,
    Path,
    Period,
    Status,
    Text,
    Unit,
)


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


class EtcdGate(Section):
    """An etcd member and its cluster are healthy.

    All members started and voting, one leader seen, no alarm, and the raft index keeps up.
    """

    endpoint: HostPort
    """The member's client address."""
    ca_file: Path
    """The CA of etcd's servers."""
    client_certificate: Name
    """A certificate of this node to present."""


class ApiserverGate(Section):
    """kube-apiserver is ready, check by check, and lists from its watch cache."""

    url: HttpsUrl
    """The server's address, without a path."""
    ca_file: Path
    """The CA of the server."""
    client_certificate: Name | None = None
    """A certificate of this node to present; its user lists the resources."""
    resources: tuple[Argument, ...] = ()
    """Paths that must list from the watch cache, as `/api/v1/nodes`; needs a client certificate
    whose user may list them."""


class LeaseGate(Section):
    """The holder of a leader election's Lease keeps renewing it."""

    url: HttpsUrl
    """The API server's address, without a path."""
    name: Text
    """The Lease's name."""
    namespace: Text = "kube-system"
    """The Lease's namespace."""
    ca_file: Path
    """The CA of the API server."""
    client_certificate: Name
    """A certificate of this node to present; its user must be allowed to get the Lease."""
    timeout: Period = timedelta(seconds=5)
    """How long a renewal is waited for; more than twice `--leader-elect-retry-period`."""
    identity: Text | None = None
    """How the holder's name begins when this node's instance leads; the host name if left out."""


class Gate(Section):
    """Health that must hold; exactly one kind."""

    one_of = ("https", "tcp", "exec", "etcd", "kube_apiserver", "lease")
    https: HttpGate | None = None
    """An HTTPS path."""
    tcp: TcpGate | None = None
    """A TCP connection."""
    exec: Command | None = None
    """A program that exits 0."""
    etcd: EtcdGate | None = None
    """An etcd member and its cluster."""
    kube_apiserver: ApiserverGate | None = None
    """kube-apiserver."""
    lease: LeaseGate | None = None
    """The leader election of kube-controller-manager or kube-scheduler."""
