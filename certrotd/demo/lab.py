"""The demo's small world: one temporary folder with CAs, a configuration and four servers."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import random
import socket
import ssl
import string
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.adapters.ca import AuthorityIssuer, create_authority
from certrotd.adapters.clock import SystemClock
from certrotd.core import x509
from certrotd.core.errors import CertrotdError
from certrotd.core.model import (
    CertificateName,
    CertificateSpec,
    ComponentName,
    IssuerName,
    KeyAlgorithm,
    ParsedCertificate,
    SigningRequest,
    Usage,
)
from certrotd.demo import processes
from certrotd.demo.server import HOST, Identity, Renewal, Role, Upstream

if TYPE_CHECKING:
    from collections.abc import Mapping

ETCD, APISERVER = "etcd", "kube-apiserver"
CONTROLLER_MANAGER, SCHEDULER = "kube-controller-manager", "kube-scheduler"
DOMAINS = ("etcd", "kubernetes")
CLIENT = "demo-client"
"""The identity of the client that keeps asking; certrotd does not know it."""
_START_LIMIT = 20.0
_LOWEST_PORT = 10240
_MANY_PORTS = 500


@dataclasses.dataclass(frozen=True, slots=True)
class Outage:
    """From when to when a server was away, on the monotonic clock."""

    since: float
    until: float

    @property
    def length(self) -> float:
        """Its length in seconds."""
        return self.until - self.since


class Lab:
    """Everything of one demo, in one folder; `close` ends and removes it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="certrotd-demo-"))
        self.config = self.folder / "certrotd.yaml"
        self.roles: Mapping[str, Role] = {}
        self._reserved = contextlib.ExitStack()

    def prepare(self, *, keep: bool) -> None:
        """Make CAs and write the configuration; with `keep` servers outlive this process."""
        self.roles = _roles(self.folder, _reserve_ports(4, self._reserved))
        for name in ("ca", "pki/etcd", "run", "state"):
            (self.folder / name).mkdir(parents=True, mode=0o700)
        if not keep:
            (self.folder / "run" / "owner").write_text(str(os.getpid()))
        for domain in DOMAINS:
            self._make_authority(domain)
        written = {name: dataclasses.asdict(role) for name, role in self.roles.items()}
        (self.folder / "servers.json").write_text(json.dumps(written, indent=2))
        self.config.write_text(self._configuration())

    def start(self) -> None:
        """Start all servers and wait until they answer.

        Raises:
            CertrotdError: one does not; the text has the end of its log.
        """
        self._reserved.close()
        subprocess.run(  # noqa: S603  # our own interpreter and module
            self.order("start"),
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is for the demo alone: it ends the others in order
        )
        deadline = time.monotonic() + _START_LIMIT
        for name, role in self.roles.items():
            while not _accepts(role.port):
                if time.monotonic() > deadline:
                    log = (self.folder / "run" / f"{name}.log").read_text()[-500:]
                    raise CertrotdError(f"{name} does not start: {log}")
                time.sleep(0.02)

    def order(self, *words: str) -> list[str]:
        """Return the command line that starts, restarts or stops servers."""
        return [sys.executable, "-m", processes.ITSELF, str(self.folder), *words]

    def served(self, name: str) -> ParsedCertificate:
        """Read the leaf that a server presents, from a handshake made now.

        Raises:
            CertrotdError: there was no handshake.
        """
        role = self.roles[name]
        context = self.client(name).context(ssl.PROTOCOL_TLS_CLIENT)
        try:
            with (
                socket.create_connection((HOST, role.port), timeout=5) as channel,
                context.wrap_socket(channel, server_hostname=HOST) as secured,
            ):
                leaf = secured.getpeercert(binary_form=True)
        except OSError as e:
            raise CertrotdError(f"{name} does not shake hands: {e}") from e
        if leaf is None:
            raise CertrotdError(f"{name} presents no certificate")
        return x509.parse_certificate(ssl.DER_cert_to_PEM_cert(leaf).encode())

    def client(self, name: str) -> Identity:
        """Return the identity with which the demo's own client asks a server."""
        return _identity(self.folder, f"ca/{_domain(name)}-client", _domain(name))

    def refuse(self, name: str, *, other_than: ParsedCertificate) -> None:
        """Let a server accept one certificate only from now on."""
        (self.folder / "run" / f"{name}.accepts").write_text(other_than.fingerprint)

    def relent(self, name: str) -> None:
        """Let a server accept every certificate again."""
        (self.folder / "run" / f"{name}.accepts").unlink()

    def outages(self, name: str) -> list[Outage]:
        """Return when a server was away because it was restarted."""
        found: list[Outage] = []
        since: float | None = None
        for line in (self.folder / "run" / f"{name}.events").read_text().splitlines():
            at, what = line.split()
            if what == "stopping" and since is None:
                since = float(at)
            elif what == "serving" and since is not None:
                found.append(Outage(since, float(at)))
                since = None
        return found if since is None else [*found, Outage(since, math.inf)]

    def close(self) -> None:
        """End all processes and remove the folder."""
        self._reserved.close()
        with contextlib.suppress(FileNotFoundError):
            processes.stop(self.folder)

    def _make_authority(self, domain: str) -> None:
        """Make a CA, and with it the client's certificate."""
        clock = SystemClock()
        certificate, key = create_authority(f"{domain}-ca", clock.now(), timedelta(days=365))
        folder = self.folder / "ca"
        _write(folder / f"{domain}.crt", certificate)
        _write(folder / f"{domain}.key", key.reveal())
        spec = CertificateSpec(
            name=CertificateName(CLIENT),
            component=ComponentName(CLIENT),
            issuer=IssuerName(domain),
            role=None,
            common_name=CLIENT,
            usages=(Usage.DIGITAL_SIGNATURE, Usage.CLIENT_AUTH),
            key=KeyAlgorithm.ECDSA_P256,
            ttl=timedelta(days=30),
            outputs=(),
        )
        own = x509.new_key(spec.key)
        request = SigningRequest(spec=spec, csr_pem=x509.build_csr(own, spec))
        answer = AuthorityIssuer(certificate, key, clock.now).sign(request)
        _write(folder / f"{domain}-client.crt", answer.chain[0])
        _write(folder / f"{domain}-client.key", x509.key_pem(own).reveal())

    def _configuration(self) -> str:
        template = resources.files("certrotd.demo").joinpath("certrotd.yaml").read_text("utf-8")
        ports = {name: str(role.port) for name, role in self.roles.items()}
        return string.Template(template).substitute(
            folder=self.folder,
            python=sys.executable,
            daily_at=f"{SystemClock().now() + timedelta(hours=12):%H:%M}",
            etcd=ports[ETCD],
            apiserver=ports[APISERVER],
            controller_manager=ports[CONTROLLER_MANAGER],
            scheduler=ports[SCHEDULER],
        )


def _roles(folder: Path, ports: list[int]) -> Mapping[str, Role]:
    def role(
        name: str, path: str, pair: str, renews: Renewal, domain: str, upstream: Upstream | None
    ) -> Role:
        return Role(
            name=name,
            port=ports.pop(),
            path=path,
            serving=_identity(folder, f"pki/{pair}", domain),
            renews=renews,
            upstream=upstream,
        )

    def above(other: Role, pair: str, domain: str) -> Upstream:
        client = _identity(folder, f"pki/{pair}", domain)
        return Upstream(port=other.port, path=other.path, client=client)

    etcd = role(ETCD, "/health", "etcd/server", "handshake", "etcd", None)
    database = above(etcd, "apiserver-etcd-client", "etcd")
    kube = role(APISERVER, "/readyz", "apiserver", "signal", "kubernetes", database)
    rest = (
        role(
            f"kube-{name}",
            "/healthz",
            name,
            "start",
            "kubernetes",
            above(kube, f"{name}-client", "kubernetes"),
        )
        for name in ("controller-manager", "scheduler")
    )
    return {each.name: each for each in (etcd, kube, *rest)}


def _domain(name: str) -> str:
    return "etcd" if name == ETCD else "kubernetes"


def _identity(folder: Path, pair: str, domain: str) -> Identity:
    return Identity(
        certificate=str(folder / f"{pair}.crt"),
        key=str(folder / f"{pair}.key"),
        ca=str(folder / "ca" / f"{domain}.crt"),
    )


def _write(path: Path, content: bytes) -> None:
    """Write a file that nobody else can read, from the first instant on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _reserve_ports(count: int, reserved: contextlib.ExitStack) -> list[int]:
    """Take ports below those that the kernel gives to outgoing connections.

    A server that restarts must find its port free; a port picked by binding to 0 could be in use
    by one of the client's own connections at that moment.

    Args:
        count: How many.
        reserved: Keeps them from everybody else until it is closed.

    Raises:
        CertrotdError: there are not so many.
    """
    outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    highest = outgoing if outgoing > _LOWEST_PORT + _MANY_PORTS else 65536
    taken: list[int] = []
    for port in random.sample(range(_LOWEST_PORT, highest), _MANY_PORTS):
        holder = socket.socket()
        reserved.callback(holder.close)
        with contextlib.suppress(OSError):
            holder.bind((HOST, port))
            taken.append(port)
        if len(taken) == count:
            return taken
    raise CertrotdError(f"there are no {count} free ports on {HOST}")
