"""The issuer of one random life: a mount of a real Vault, an identity there, and the way to it.

Everything that may go wrong at or before Vault has a switch here; what Vault signed is counted by
Vault itself, in its audit log.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.adapters.vault import AppRoleAuth, VaultConnection
from tests.crash.disks import MEMORY
from tests.hostile.proxy import HOST, CutOff, HostileProxy, Purpose, honestly, vault_behind
from tests.testbed.throwaway import ThrowawayCA
from tests.testbed.vaultserver import VaultServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import timedelta

    from tests.hostile.proxy import Exchange

_numbers = itertools.count(1)
_ROLE: dict[str, object] = {"client_flag": False}


@contextmanager
def a_vault() -> Iterator[VaultServer]:
    """Give an unsealed Vault that writes an audit log.

    Raises:
        BuildFailed: there is none and none can be built.
    """
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="certrotd-") as directory:
        server = VaultServer(Path(directory) / "vault", storage="inmem")
        server.directory.mkdir()
        with server:
            server.write("sys/audit/file", type="file", options={"file_path": str(_audit(server))})
            yield server


def _audit(server: VaultServer) -> Path:
    return server.directory / "audit.log"


class Pki:
    """One mount with a role for each certificate; `close` it at the end."""

    def __init__(self, server: VaultServer, directory: Path, roles: Iterable[str]) -> None:
        self.server, self.mount, self.roles = server, f"life{next(_numbers)}", tuple(roles)
        self.anchors = directory / "root.crt"
        self.anchors.write_bytes(server.enable_pki(self.mount, f"{self.mount} root"))
        self._secret_id, self._tls = directory / "secret-id", directory / "tls.crt"
        self.is_sealed = self.is_frozen = False
        self._read = _audit(server).stat().st_size
        self._waiting, self._armed, self._lock = 0, False, threading.Lock()
        self.permit()
        self._login = server.enable_approle(self.mount, [self.mount], mount=self._auth)
        self.new_identity()
        for role in self.roles:
            self.define(role)
        tls = ThrowawayCA.new("proxy TLS")
        self._tls.write_bytes(tls.pem)
        pair = directory / "proxy.crt", directory / "proxy.key"
        tls.issue("proxy", ip_addresses=[HOST]).write(*pair)
        self.proxy = HostileProxy(vault_behind(server), *pair)
        self.proxy.__enter__()

    @property
    def _auth(self) -> str:
        return f"{self.mount}-approle"

    @property
    def can_be_asked(self) -> bool:
        """Whether an administrator gets an answer."""
        return not (self.is_sealed or self.is_frozen)

    def connection(self, patience: timedelta) -> VaultConnection:
        """Return how certrotd comes here; one try may take `patience`, all of them twice that."""
        return VaultConnection(
            address=self.proxy.address,
            ca_file=str(self._tls),
            auth=AppRoleAuth(
                mount=self._auth,
                role_id=self._login.role_id,
                secret_id_file=str(self._secret_id),
            ),
            connect_timeout=patience,
            read_timeout=patience,
            deadline=2 * patience,
        )

    def signed(self) -> Counter[str]:
        """Count, for each role, what Vault signed since this was asked last."""
        with _audit(self.server).open("rb") as log:
            log.seek(self._read)
            lines = log.read()
        whole = lines[: lines.rfind(b"\n") + 1]
        self._read += len(whole)
        return Counter(filter(None, map(self._role_signed, whole.splitlines())))

    def _role_signed(self, line: bytes) -> str:
        entry = json.loads(line)
        mount, _, role = entry.get("request", {}).get("path", "").partition("/sign/")
        data = entry.get("response", {}).get("data") or {}
        return role if mount == self.mount and "serial_number" in data else ""

    def define(self, role: str, **fields: object) -> None:
        """Let a role be as it should be, but for these fields."""
        self.server.define_role(self.mount, role, **(_ROLE | fields))

    def remove(self, role: str) -> None:
        """Let there be no such role."""
        self.server.delete(f"{self.mount}/roles/{role}")

    def permit(self, *, nothing: bool = False) -> None:
        """Write the identity's policy; one that permits nothing if asked for."""
        can = "deny" if nothing else "update"
        rules = (
            f'path "{self.mount}/sign/{each}" {{ capabilities = ["{can}"] }}' for each in self.roles
        )
        self.server.write_policy(self.mount, "\n".join(rules))

    def revoke_tokens(self) -> None:
        """End every token that this identity was given."""
        self.server.write(f"sys/leases/revoke-prefix/auth/{self._auth}/login", sync=True)

    def destroy_identity(self) -> None:
        """End the secret-id too; its file stays as it is."""
        secret_id = self._secret_id.read_text()
        self.server.write(
            f"auth/{self._auth}/role/{self.mount}/secret-id/destroy", secret_id=secret_id
        )
        self.revoke_tokens()

    def new_identity(self) -> None:
        """Put another secret-id into the file."""
        self._secret_id.touch(0o600)
        self._secret_id.write_text(self.server.new_secret_id(self.mount, mount=self._auth))

    def seal(self) -> None:
        """Seal Vault."""
        self.server.seal()
        self.is_sealed = True

    def freeze(self) -> None:
        """Stop Vault's process where it stands."""
        os.kill(self.server.pid, signal.SIGSTOP)
        self.is_frozen = True

    def freeze_at_signature(self) -> None:
        """Let Vault stand still when it is asked for the next signature; it signs afterwards."""
        self._armed = True
        self.proxy.deeds[Purpose.SIGN] = self._frozen

    def _frozen(self, exchange: Exchange) -> None:
        with self._lock:
            if self._armed:
                self.freeze()
            self._waiting += 1
        try:
            honestly(exchange)
        finally:
            with self._lock:
                self._waiting -= 1

    def cut(self, purpose: Purpose, *, after: bool) -> None:
        """Cut connections that ask for this, before Vault is asked or after it has answered."""

        def deed(exchange: Exchange) -> None:
            if after:
                exchange.forward()
            raise CutOff

        self.proxy.deeds[purpose] = deed

    def mend(self) -> None:
        """End everything that is wrong; what Vault still had to do is done then."""
        with self._lock:
            self._armed = False
        self.proxy.honest()
        self._thaw()
        if self.is_sealed:
            self.server.unseal()
            self.is_sealed = False
        for role in self.roles:
            self.define(role)
        self.permit()
        self.new_identity()

    def _thaw(self) -> None:
        os.kill(self.server.pid, signal.SIGCONT)
        self.is_frozen = False
        while self._waiting:
            time.sleep(0.01)

    def close(self) -> None:
        """Leave Vault as it was."""
        self.mend()
        self.proxy.__exit__()
        self.server.delete(f"sys/mounts/{self.mount}")
        self.server.delete(f"sys/auth/{self._auth}")
