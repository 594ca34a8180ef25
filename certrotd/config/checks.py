"""What must hold between the sections of a configuration; finds every fault, changes nothing."""

from __future__ import annotations

import difflib
import posixpath
from typing import TYPE_CHECKING

from certrotd.config import settings
from certrotd.core.model import ActivationKind, Usage
from certrotd.core.planning import cycle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certrotd.config.source import Location, Source
    from certrotd.core.errors import Problem

_COMMON_NAME_LIMIT = 64
"""ub-common-name, RFC 5280 appendix A.1."""


def activation_of(given: settings.Activation) -> tuple[ActivationKind, str]:
    """Return the activation's kind and how people read it."""
    if given.restart:
        return ActivationKind.RESTART, f"restart {given.restart.unit}"
    if given.signal:
        target = given.signal.unit or given.signal.pidfile
        return ActivationKind.SIGNAL, f"SIG{given.signal.signal} to {target}"
    if given.exec:
        program = given.exec.command[0] if given.exec.command else ""
        return ActivationKind.EXEC, f"run {posixpath.basename(program)}"
    if given.reload:
        return ActivationKind.RELOAD, "reloads by itself"
    return ActivationKind.NONE, "nothing"


class Checker:
    """Walks the settings once and gathers problems."""

    def __init__(self, source: Source, root: settings.Root) -> None:
        self._source = source
        self._root = root
        self.problems: list[Problem] = []
        self._paths: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def fault(self, at: Location, message: str) -> None:
        """Record a fault at a location."""
        self.problems.append(self._source.problem(at, message))

    def check(self) -> None:
        """Run all checks."""
        self._limits()
        for name, vault in self._root.vaults.items():
            self._vault(("vaults", name), vault)
        for name, issuer in self._root.issuers.items():
            self._issuer(("issuers", name), issuer)
        if not self._root.components:
            self.fault(("components",), "must name at least one component")
        for name, component in self._root.components.items():
            self._component(("components", name), component)
        self._order()

    def _reference(self, at: Location, name: str, known: Iterable[str], kind: str) -> bool:
        if name in known:
            return True
        near = difflib.get_close_matches(name, list(known), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        self.fault(at, f"there is no {kind} '{name}'{hint}")
        return False

    def _limits(self) -> None:
        limits = self._root.limits
        for key in ("workers", "issuances_per_day", "history"):
            if getattr(limits, key) < 1:
                self.fault(("limits", key), "must be at least 1")
        if self._root.schedule.splay.total_seconds() >= 86400:  # noqa: PLR2004  # one day
            self.fault(("schedule", "splay"), "must be less than a day")

    def _vault(self, at: Location, given: settings.Vault) -> None:
        approle = given.auth.approle
        if approle and bool(approle.role_id) == bool(approle.role_id_file):
            self.fault((*at, "auth", "approle"), "give either role_id or role_id_file")

    def _issuer(self, at: Location, given: settings.Issuer) -> None:
        if given.vault is None:
            return
        self._reference(
            (*at, "vault", "connection"), given.vault.connection, self._root.vaults, "vault"
        )
        if given.trust_anchors is None:
            self.fault(
                (*at, "trust_anchors"),
                "is required: the CA certificates that answers are checked against are pinned "
                "here, never taken from an answer",
            )

    def _component(self, at: Location, given: settings.Component) -> None:
        if not given.certificates:
            self.fault((*at, "certificates"), "must name at least one certificate")
        self._commands(at, given)
        for name, certificate in given.certificates.items():
            here = (*at, "certificates", name)
            if name in self._names:
                self.fault(here, f"the name is taken by component '{self._names[name]}'")
            self._names.setdefault(name, str(at[-1]))
            self._certificate(here, certificate)
        for i, proof in enumerate(given.proofs):
            self._proof((*at, "proofs", i), proof, given)
        for i, gate in enumerate(given.gates):
            if gate.https and gate.https.client_certificate:
                self._client((*at, "gates", i, "https"), gate.https.client_certificate)
        if given.activation.reload and not any(p.tls or p.client for p in given.proofs):
            self.fault(
                (*at, "activation", "reload"),
                "needs a tls or client proof: that a process re-read its files must be seen",
            )

    def _commands(self, at: Location, given: settings.Component) -> None:
        commands: list[tuple[Location, tuple[str, ...]]] = []
        if given.activation.exec:
            here = (*at, "activation", "exec")
            commands.append(((*here, "command"), given.activation.exec.command))
            if given.activation.exec.only_if:
                commands.append(((*here, "only_if"), given.activation.exec.only_if))
        for i, gate in enumerate(given.gates):
            if gate.exec:
                commands.append(((*at, "gates", i, "exec", "command"), gate.exec.command))
        for where, command in commands:
            if not command or not command[0].startswith("/"):
                self.fault(where, "must start with the absolute path of a program")

    def _certificate(self, at: Location, given: settings.Certificate) -> None:
        self._reference((*at, "issuer"), given.issuer, self._root.issuers, "issuer")
        if not 0 < len(given.common_name) <= _COMMON_NAME_LIMIT:
            self.fault((*at, "common_name"), "must have 1 to 64 characters")
        if not any(usage.extended for usage in given.usages):
            self.fault((*at, "usages"), "must name 'server auth' or 'client auth', or both")
        if Usage.SERVER_AUTH in given.usages and not (given.dns_names or given.ip_addresses):
            self.fault(
                (*at, "dns_names"),
                "a server certificate needs dns_names or ip_addresses: clients ignore the CN",
            )
        if not given.outputs:
            self.fault((*at, "outputs"), "must name at least one file")
        for i, output in enumerate(given.outputs):
            self._output((*at, "outputs", i), output, given)
        embedded = any(each.kubeconfig and each.embed for each in given.outputs)
        if not embedded and not any(each.key or each.combined for each in given.outputs):
            self.fault((*at, "outputs"), "no output holds the private key: add a key or combined")
        if not embedded and not any(each.certificate or each.combined for each in given.outputs):
            self.fault((*at, "outputs"), "no output holds the certificate: add one")
        names = [posixpath.basename(path_of(each)) for each in given.outputs]
        if len(set(names)) < len(names):
            self.fault((*at, "outputs"), "two files of one certificate have the same base name")

    def _output(
        self, at: Location, given: settings.Output, certificate: settings.Certificate
    ) -> None:
        path = path_of(given)
        owner = f"{at[1]}/{at[3]}"
        if path in self._paths:
            self.fault(at, f"{path} is already written by {self._paths[path]}")
        self._paths.setdefault(path, owner)
        if "/.certrotd/" in path:
            self.fault(at, f"{path} lies inside a generation tree of certrotd")
        if given.kubeconfig is None:
            for key in ("server", "user", "ca_file"):
                if getattr(given, key) is not None:
                    self.fault((*at, key), "goes with a kubeconfig only")
            return
        if given.server is None:
            self.fault((*at, "server"), "is required for a kubeconfig")
        siblings = certificate.outputs
        has_pair = any(o.combined for o in siblings) or (
            any(o.certificate for o in siblings) and any(o.key for o in siblings)
        )
        if not given.embed and not has_pair:
            self.fault(
                (*at, "embed"),
                "a kubeconfig that names files needs certificate and key outputs beside it",
            )

    def _proof(self, at: Location, given: settings.Proof, component: settings.Component) -> None:
        for kind, proof, usage in (
            ("tls", given.tls, Usage.SERVER_AUTH),
            ("client", given.client, Usage.CLIENT_AUTH),
        ):
            if proof is None:
                continue
            where = (*at, kind, "certificate")
            known = component.certificates
            if self._reference(where, proof.certificate, known, "certificate of this component"):
                certificate = component.certificates[proof.certificate]
                if usage not in certificate.usages:
                    self.fault(where, f"'{proof.certificate}' has no usage '{usage}'")
        if given.tls and given.tls.client_certificate:
            self._client((*at, "tls"), given.tls.client_certificate)

    def _client(self, at: Location, name: str) -> None:
        known = {n: c for each in self._root.components.values() for n, c in
                 each.certificates.items()}
        where = (*at, "client_certificate")
        if self._reference(where, name, known, "certificate") and not any(
            each.certificate or each.combined for each in known[name].outputs
        ):
            self.fault(where, f"'{name}' has no certificate file to present")

    def _order(self) -> None:
        after = {name: each.after for name, each in self._root.components.items()}
        for name, names in after.items():
            for i, other in enumerate(names):
                self._reference(("components", name, "after", i), other, after, "component")
        if found := cycle({n: tuple(o for o in os if o in after) for n, os in after.items()}):
            at = ("components", found[0], "after")
            self.fault(at, f"the order is a cycle: {' after '.join(found)}")


def path_of(given: settings.Output) -> str:
    """Return the path of an output, whichever its kind is."""
    return next(str(path) for each in given.one_of if (path := getattr(given, each)))
