"""The composition root of what looks after this node's own kubelet."""

# ruff: noqa: PLC0415  # what not every tick needs is imported where it is needed

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.adapters.flock import FileLock
from certrotd.adapters.kubelet import FileRecords, HealthGate, KubeletStore
from certrotd.core import x509
from certrotd.core.errors import PermanentError
from certrotd.core.model import CertificateName, Evidence, Expectation, Secret
from certrotd.core.model.kubelets import Purpose
from certrotd.keepers import given, restarting
from certrotd.kubelets.naming import Names, ServingNames
from certrotd.kubelets.renewing import CREDENTIAL_WANTED, Means, Renewer, Terms
from certrotd.kubelets.settling import KUBELET, Settling
from certrotd.kubelets.tending import Tending

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certrotd.adapters.kubernetes import ApiConnection
    from certrotd.adapters.vault import VaultSession
    from certrotd.config import Config, settings
    from certrotd.core.kubelets import Held
    from certrotd.ports import Clock, Gate, Log
    from certrotd.ports.kubelets import Asker, Nodes, SigningRequests

LOCK_WAIT = 2.0
"""How long, in seconds, somebody waits for another certrotd to finish its look."""
_CREDENTIALS = "CREDENTIALS_DIRECTORY"
_LONGEST_TOKEN = 4096


def tending(
    config: Config,
    section: settings.Kubelet,
    sessions: Mapping[str, VaultSession],
    clock: Clock,
    log: Log,
) -> Tending:
    """Build what renews this node's certificates; touches neither network nor disk."""
    node = section.node_name or config.node.lower()
    state = posixpath.join(config.settings.state_directory, KUBELET)
    store = KubeletStore(section.directory, section.kubeconfig)
    fixed = Names(dns_names=section.dns_names, ip_addresses=section.ip_addresses)
    access = NodeAccess(section=section, sessions=sessions, clock=clock)
    settling = Settling(
        service=restarting(KUBELET, section.restart),
        gates=lambda purpose, held: _gates(section, node, access, purpose, held),
        clock=clock,
        log=log,
        within=section.settle_within,
    )
    renewer = Renewer(
        terms=Terms(
            node=node,
            server=section.server,
            ca_file=section.ca_file,
            key=section.key,
            lifetime=section.lifetime,
            answer_within=section.answer_within,
            patience=section.patience,
        ),
        means=Means(
            store=store,
            records=FileRecords(state),
            access=access,
            names=ServingNames(node, clock, fixed if section.ip_addresses else None),
            settling=settling,
            anchors=lambda: _anchors(section.trust_anchors or section.ca_file),
            current=store.current(Purpose.CLIENT),
        ),
        clock=clock,
        log=log,
    )
    return Tending(
        renewer=renewer,
        purposes=tuple(Purpose[each.upper()] for each in section.purposes),
        lock=FileLock(posixpath.join(state, "lock"), wait=LOCK_WAIT, clock=clock),
    )


def _anchors(path: str) -> tuple[bytes, ...]:
    try:
        return x509.split_pem(Path(path).read_bytes())
    except (OSError, ValueError) as e:
        told = e.strerror if isinstance(e, OSError) else str(e)
        raise PermanentError(
            f"cannot read the trust anchors in {path}: {told}",
            hint="kubelet.trust_anchors (or kubelet.ca_file) must name the pinned CA certificates",
        ) from e


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Implements `ports.kubelets.Asker` over one connection."""

    who: str
    by_token: bool
    requests: SigningRequests
    nodes: Nodes
    connection: ApiConnection


@dataclass(slots=True, kw_only=True)
class NodeAccess:
    """Implements `ports.kubelets.Access`; one connection is kept, for as long as nothing changes.

    What a certificate or token says is read anew for each look: another one means another
    connection.
    """

    section: settings.Kubelet
    sessions: Mapping[str, VaultSession]
    clock: Clock
    _kept: tuple[object, Identity] | None = None

    def node(self, held: Held) -> Identity:
        """Return the node itself."""
        known = (held.path, held.leaf.fingerprint if held.leaf else "")
        if self._kept is None or self._kept[0] != known:
            self._keep(known, self._made(held.path, held=held))
        return given(self._kept)[1]

    def bootstrap(self) -> Asker | None:
        """Return who has the bootstrap token.

        Raises:
            IssuerUnavailable, IssuerRefused: Vault does not give it.
            PermanentError: its file cannot be used.
        """
        source = self.section.bootstrap
        if source is None:
            return None
        token, origin = self._token(source)
        if self._kept is None or self._kept[0] != token:
            self._keep(token, self._made(f"the bootstrap token of {origin}", token=token))
        return given(self._kept)[1]

    def bootstrap_problem(self) -> PermanentError | None:
        """Read the token's file; what is in Vault, or given to a unit alone, cannot be seen."""
        source = self.section.bootstrap
        if source is None:
            return PermanentError("no bootstrap credential is configured", hint=CREDENTIAL_WANTED)
        if source.vault or (source.credential and not os.environ.get(_CREDENTIALS)):
            return None
        try:
            self._token(source)
        except PermanentError as e:
            return e
        return None

    def _keep(self, known: object, identity: Identity) -> None:
        if self._kept:
            self._kept[1].connection.close()
        self._kept = (known, identity)

    def _made(self, who: str, *, held: Held | None = None, token: Secret | None = None) -> Identity:
        from certrotd.adapters.kubernetes import (
            ApiConnection,
            ApiNodes,
            ApiServer,
            ApiSigningRequests,
        )

        section = self.section
        inside = held is not None and held.files is None
        certificate, key = held.files if held and held.files else (None, None)
        connection = ApiConnection(
            ApiServer(
                kubeconfig=section.kubeconfig if inside else None,
                server=section.server,
                ca_file=section.ca_file,
                certificate=certificate,
                key=key,
                token=token,
                connect_timeout=section.connect_timeout.total_seconds(),
                read_timeout=section.read_timeout.total_seconds(),
            )
        )
        return Identity(
            who=who,
            by_token=token is not None,
            requests=ApiSigningRequests(connection),
            nodes=ApiNodes(connection, self.clock),
            connection=connection,
        )

    def _token(self, source: settings.Bootstrap) -> tuple[Secret, str]:
        if vault := source.vault:
            from certrotd.adapters.vault.kv import read_field

            session = self.sessions[vault.connection]
            return read_field(session, vault.path, vault.field), f"{vault.path} in Vault"
        path = source.token_file or _credential(given(source.credential))
        return _token_in(path), path


def _credential(name: str) -> str:
    directory = os.environ.get(_CREDENTIALS)
    if not directory:
        raise PermanentError(
            f"there is no systemd credential {name}: {_CREDENTIALS} is not set",
            hint=f"add LoadCredential={name}:/path to the unit, or use token_file",
        )
    return posixpath.join(directory, name)


def _token_in(path: str) -> Secret:
    """Read a bootstrap token.

    Raises:
        PermanentError: it cannot be read, is none, or others could read it.
    """
    hint = "on a control-plane node: kubeadm token create; write it there with mode 0600"
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_LONGEST_TOKEN).strip()
    except OSError as e:
        raise PermanentError(
            f"cannot read the bootstrap token in {path}: {e.strerror}", hint=hint
        ) from e
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise PermanentError(f"{path}: everybody can read it", hint=f"chmod 0600 {path}")
    if not text or not all(0x20 < byte < 0x7F for byte in text):  # noqa: PLR2004  # visible ASCII
        raise PermanentError(f"{path} holds no bootstrap token", hint=hint)
    return Secret(text)


def _gates(
    section: settings.Kubelet, node: str, access: NodeAccess, purpose: Purpose, held: Held
) -> tuple[Gate, ...]:
    healthy = HealthGate(section.health)
    if purpose is Purpose.SERVING:
        return healthy, Presented(section.serving, held)
    from certrotd.adapters.kubernetes import NodeGate

    return healthy, NodeGate(access.node(held).connection, node)


@dataclass(frozen=True, slots=True)
class Presented:
    """The kubelet presents on `address` the leaf that is in its store."""

    address: str
    held: Held

    def check(self) -> Evidence:
        """Make one handshake."""
        from certrotd.adapters.probes import TlsProof

        leaf = self.held.leaf
        if leaf is None:
            return Evidence(source=self.address, holds=False, detail=self.held.problem)
        name = CertificateName("kubelet-serving")
        expected = Expectation(
            certificate=name,
            fingerprint=leaf.fingerprint,
            serial=leaf.serial,
            published_at=leaf.not_before,
        )
        return TlsProof(self.address, name).check({name: expected})
