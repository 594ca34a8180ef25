"""A PKI mount with roles on a real Vault, and identities that may use it."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from certrotd.adapters.clock import SystemClock
from certrotd.adapters.vault import (
    AppRoleAuth,
    CertificateAuth,
    VaultConnection,
    VaultIssuer,
    VaultSession,
)
from certrotd.core import x509
from certrotd.core.errors import IssuerRefused
from certrotd.core.model import Issued
from certrotd.core.verify import verify
from tests.factories import SKEW, make_request, make_spec
from tests.fakes.log import RecordingLog
from tests.testbed.throwaway import ThrowawayCA

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.adapters.vault.settings import Auth
    from certrotd.core.errors import CertrotdError
    from certrotd.core.model import Answer, CertificateSpec, Verified
    from tests.testbed.vaultserver import VaultServer

_numbers = itertools.count(1)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@dataclass
class VaultLab:
    """One mount below a name of its own: root `root` signs the intermediate of `mount`.

    `policy` allows exactly `sign`, `issue` and `issuer/default/sign` with role `server`.
    """

    server: VaultServer
    directory: Path
    name: str = field(default_factory=lambda: f"lab{next(_numbers)}")
    log: RecordingLog = field(default_factory=RecordingLog)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.root, self.mount, self.role = f"{self.name}-root", f"{self.name}-pki", f"{self.name}-r"
        self.anchors = self.directory / f"{self.name}.ca"
        self.anchors.write_bytes(self.server.enable_pki(self.root, f"{self.name} root"))
        self.server.enable_intermediate(self.mount, self.root, f"{self.name} intermediate")
        self.define_role()
        paths = ("sign/server", "issue/server", "issuer/default/sign/server", "sign/unknown")
        self.allow(*(f"{self.mount}/{each}" for each in paths))
        self.credentials = self.server.enable_approle(self.role, [self.name])
        self.clock = SystemClock()

    def define_role(self, role: str = "server", **fields: object) -> None:
        """A role for servers."""
        self.server.define_role(self.mount, role, **({"client_flag": False} | fields))

    def allow(self, *paths: str) -> None:
        """Let the policy be exactly this: signing at these paths."""
        rules = "\n".join(f'path "{each}" {{ capabilities = ["update"] }}' for each in paths)
        self.server.write_policy(self.name, rules)

    def file(self, name: str, content: str) -> str:
        """Write a file as a person does, with a line end."""
        path = self.directory / name
        path.write_text(content + "\n")
        path.chmod(0o600)
        return str(path)

    def approle(self, **changes: Any) -> AppRoleAuth:
        """AppRole with the secret-id in a file."""
        secret_id = self.file(f"{self.name}.secret-id", self.credentials.secret_id)
        auth = AppRoleAuth(role_id=self.credentials.role_id, secret_id_file=secret_id)
        return replace(auth, **changes)

    def certificate_login(self) -> CertificateAuth:
        """Login with a client certificate that an auth mount of the lab's own knows."""
        ca, mount = ThrowawayCA.new("nodes"), f"{self.name}-cert"
        self.server.enable_certificate_auth("certrotd", ca.pem, [self.name], mount=mount)
        crt, key = self.directory / "node.crt", self.directory / "node.key"
        ca.issue("node-1", client=True, server=False).write(crt, key)
        return CertificateAuth(mount=mount, role="certrotd", certificate=str(crt), key=str(key))

    def connection(self, auth: Auth | None = None, **changes: Any) -> VaultConnection:
        connection = VaultConnection(
            address=self.server.address,
            ca_file=str(self.server.ca_file),
            auth=auth or self.approle(),
            connect_timeout=seconds(3),
            read_timeout=seconds(20),
            deadline=seconds(30),
        )
        return replace(connection, **changes)

    def session(self, auth: Auth | None = None, **changes: Any) -> VaultSession:
        return VaultSession(self.connection(auth, **changes), self.clock, self.log, self.stop)

    def issuer(self, session: VaultSession | None = None, **changes: Any) -> VaultIssuer:
        given = {"mount": self.mount, "anchors_file": str(self.anchors)} | changes
        return VaultIssuer(session or self.session(), **given)

    def spec(self, name: str = "server", **changes: Any) -> CertificateSpec:
        return make_spec(self.directory, name, **({"role": "server"} | changes))

    def issue(self, issuer: VaultIssuer, spec: CertificateSpec | None = None) -> Verified:
        """As the rotator does: key and CSR here, signature there, then verified."""
        wanted = spec or self.spec()
        key, request = make_request(wanted)
        return self.verified(issuer, wanted, key, issuer.sign(request))

    def verified(
        self, issuer: VaultIssuer, spec: CertificateSpec, key: x509.PrivateKey, answer: Answer
    ) -> Verified:
        now = self.clock.now()
        issued = Issued(
            spec=spec,
            private_key=answer.private_key or x509.key_pem(key),
            chain=answer.chain,
            issued_at=now,
        )
        return verify(issued, issuer.anchors(), now, SKEW)


def refused(lab: VaultLab, **changes: object) -> IssuerRefused:
    """What signing over a new session is refused with."""
    issuer = lab.issuer(lab.session(**changes))  # type: ignore[arg-type]  # fields of VaultConnection
    with pytest.raises(IssuerRefused) as caught:
        lab.issue(issuer)
    insist_on_no_secret(lab, caught.value)
    return caught.value


def insist_on_no_secret(lab: VaultLab, error: CertrotdError) -> None:
    shown = f"{error!r} {error} {error.hint} {error.__cause__!r} {lab.log.lines}"
    assert lab.credentials.secret_id not in shown
    assert "hvs." not in shown


def tokens_of(lab: VaultLab) -> set[str]:
    """Accessors of all tokens that AppRole gave to this lab's role."""
    found = set()
    for accessor in lab.server.list("auth/token/accessors"):
        status, answer = lab.server.request(
            "POST", "auth/token/lookup-accessor", {"accessor": accessor}, accept=(200, 403, 404)
        )
        if status == 200 and lab.name in answer["data"]["policies"]:
            found.add(accessor)
    return found
