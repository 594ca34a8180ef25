"""A node in the container: a CA, a TLS server as a unit, and certrotd's configuration."""

from __future__ import annotations

import hashlib
import ssl
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import yaml

from certrotd.adapters.ca import AuthorityIssuer, create_authority
from certrotd.adapters.clock import SystemClock
from certrotd.core import x509
from certrotd.core.model import (
    CertificateName,
    CertificateSpec,
    ComponentName,
    IssuerName,
    KeyAlgorithm,
    SigningRequest,
    Usage,
)
from tests.systemd.container import REPOSITORY

if TYPE_CHECKING:
    from tests.systemd.container import Container

DAEMON = "certrotd.service"
ONCE = "certrotd-rotate.service"
TIMER = "certrotd-rotate.timer"
SERVER = "demo-server.service"
PORT = 8443
ACCEPTED = "/etc/demo/accepted"
CERTIFICATE, KEY = "/etc/kubernetes/pki/server.crt", "/etc/kubernetes/pki/server.key"
CONFIG = "/etc/certrotd/certrotd.yaml"
STATE = "/var/lib/certrotd"
CA_KEY = "/etc/certrotd/ca.key"
_PROGRAM = "/opt/demo/tls_server.py"
_AGE = timedelta(days=2)
_SERVED = f"""import ssl
print(ssl.get_server_certificate(("127.0.0.1", {PORT})))
"""

Settings = dict[str, Any]


class Node:
    """One component, `server`, whose certificate is two days old and so is due."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self._drop_ins: list[str] = []
        # Far from now: no slot passes while a test runs.
        slot = f"{SystemClock().now() + timedelta(hours=12):%H:%M}"
        self.settings: Settings = {
            "schedule": {"daily_at": slot, "splay": "0s"},
            "issuers": {"lab": {"ca": {"certificate": "/etc/certrotd/ca.crt", "key": CA_KEY}}},
            "components": {
                "server": {
                    "activation": {"restart": {"unit": SERVER}},
                    "proofs": [
                        {"tls": {"address": f"127.0.0.1:{PORT}", "certificate": "server"}},
                    ],
                    "proof_deadline": "10s",
                    "certificates": {
                        "server": {
                            "issuer": "lab",
                            "common_name": "server.example",
                            "dns_names": ["server.example"],
                            "usages": [each.value for each in _USAGES],
                            "outputs": [{"certificate": CERTIFICATE}, {"key": KEY}],
                        }
                    },
                }
            },
        }

    @property
    def component(self) -> Settings:
        """The component's settings, to be changed."""
        return self.settings["components"]["server"]  # type: ignore[no-any-return]

    def prepare(self) -> None:
        """Write everything and start the server with its old certificate."""
        self._write_certificates()
        self.write_config()
        program = REPOSITORY / "tests" / "systemd" / "tls_server.py"
        self.container.write(_PROGRAM, program.read_text())
        self.container.path("/etc/demo").mkdir(exist_ok=True)
        self.container.add_unit(SERVER, self._unit())
        self.container.systemctl("start", SERVER)

    def clear(self) -> None:
        """Stop and remove everything."""
        run = self.container.run
        run("systemctl", "stop", TIMER, DAEMON, ONCE, check=False)
        run("systemctl", "kill", "--signal=KILL", SERVER, check=False)
        run("systemctl", "stop", SERVER, check=False)
        for name in (SERVER, *self._drop_ins):
            self.container.remove_unit(name)
        run("systemctl", "reset-failed")
        run("rm", "-rf", STATE, "/etc/kubernetes", "/etc/certrotd", "/etc/demo")
        run("journalctl", "--rotate")
        run("journalctl", "--vacuum-files=1")

    def write_config(self) -> None:
        """Write the configuration."""
        self.container.write(CONFIG, yaml.safe_dump(self.settings, sort_keys=False), 0o600)

    def drop_in(self, unit: str, text: str) -> None:
        """Add a drop-in to a unit until the end of the test."""
        name = f"{unit}.d/test-{len(self._drop_ins)}.conf"
        self._drop_ins.append(name)
        self.container.add_unit(name, text)

    def shipped_drop_in(self, unit: str, name: str) -> None:
        """Add one of systemd/drop-ins to a unit until the end of the test."""
        self.drop_in(unit, (REPOSITORY / "systemd" / "drop-ins" / name).read_text())

    def accept_only(self, fingerprint: str) -> None:
        """Let the server refuse every certificate but one."""
        self.container.write(ACCEPTED, fingerprint)

    def start_daemon(self) -> None:
        """Start the daemon; systemd waits for its READY."""
        self.container.systemctl("start", DAEMON)

    def await_daemon(self, text: str) -> None:
        """Wait until a line of the daemon's journal holds the text."""
        self.container.await_journal(DAEMON, text)

    def served(self) -> str:
        """The SHA-256 of the leaf that a handshake made now shows."""
        return _fingerprint(self.container.run_python(_SERVED))

    def published(self) -> str:
        """The SHA-256 of the leaf on disk."""
        return _fingerprint(self.container.run("cat", CERTIFICATE).stdout)

    def _write_certificates(self) -> None:
        now = SystemClock().now()
        ca, ca_key = create_authority("lab", now - timedelta(days=30), timedelta(days=365))
        own = x509.new_key(KeyAlgorithm.ECDSA_P256)
        spec = CertificateSpec(
            name=CertificateName("server"),
            component=ComponentName("server"),
            issuer=IssuerName("lab"),
            role=None,
            common_name="server.example",
            dns_names=("server.example",),
            usages=_USAGES,
            key=KeyAlgorithm.ECDSA_P256,
            ttl=timedelta(days=7),
            outputs=(),
        )
        request = SigningRequest(spec=spec, csr_pem=x509.build_csr(own, spec))
        answer = AuthorityIssuer(ca, ca_key, lambda: now - _AGE).sign(request)
        write = self.container.write
        write("/etc/certrotd/ca.crt", ca.decode())
        write(CA_KEY, ca_key.reveal().decode(), 0o600)
        write(CERTIFICATE, answer.chain[0].decode())
        write(KEY, x509.key_pem(own).reveal().decode(), 0o600)

    def _unit(self) -> str:
        python = self.container.python
        return f"""[Service]
Type=notify
Environment=LD_LIBRARY_PATH={python.rpartition("/bin/")[0]}/lib
ExecStart={python} -I {_PROGRAM} {PORT} {CERTIFICATE} {KEY} {ACCEPTED}
ExecStartPost=+/bin/sh -c 'echo $MAINPID >/run/demo-server.pid'
"""


_USAGES = (Usage.DIGITAL_SIGNATURE, Usage.SERVER_AUTH)


def _fingerprint(pem: str) -> str:
    leaf = pem[: pem.index(ssl.PEM_FOOTER)] + ssl.PEM_FOOTER
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf)).hexdigest()
