"""What must hold between the sections of a configuration; finds every fault, changes nothing."""

from __future__ import annotations

import graphlib
from typing import TYPE_CHECKING

from certrotd import presets
from certrotd.config.faults import Table
from certrotd.config.outputs import OutputChecks, holds_identity, pair_material
from certrotd.core.model import KeyAlgorithm, Usage
from certrotd.core.model.kubelets import SHORTEST

if TYPE_CHECKING:
    from certrotd.config import settings
    from certrotd.config.faults import Faults
    from certrotd.config.source import Location

_COMMON_NAME_LIMIT = 64
"""ub-common-name and ub-organization-name, RFC 5280 appendix A.1."""

_DAY = 86400


def check(root: settings.Root, faults: Faults) -> None:
    """Run all checks."""
    if root.schedule.splay.total_seconds() >= _DAY:
        faults.add(("schedule", "splay"), "must be less than a day")
    for name, vault in root.vaults.items():
        _vault(("vaults", name), vault, faults)
    for name, issuer in root.issuers.items():
        _issuer(("issuers", name), issuer, root, faults)
    if root.kubelet_approver:
        _approver(("kubelet_approver",), root.kubelet_approver, root, faults)
    if root.kubelet:
        _kubelet(("kubelet",), root.kubelet, root, faults)
    if not (root.components or root.kubelet or root.kubelet_approver):
        faults.add(("components",), "must name at least one component")
    _Components(root, faults).check()
    _order(root, faults)


def _vault(at: Location, given: settings.Vault, faults: Faults) -> None:
    approle = given.auth.approle
    if approle and bool(approle.role_id) == bool(approle.role_id_file):
        faults.add((*at, "auth", "approle"), "exactly one of role_id, role_id_file must be given")


def _issuer(at: Location, given: settings.Issuer, root: settings.Root, faults: Faults) -> None:
    if given.vault is None:
        return
    connection = given.vault.connection
    vaults = Table("entry of vaults", root.vaults, ("vaults",))
    faults.reference((*at, "vault", "connection"), connection, vaults)
    if given.trust_anchors is None:
        faults.add(
            (*at, "trust_anchors"),
            "is required: the CA certificates that answers are checked against are pinned here, "
            "never taken from an answer",
        )


def _approver(
    at: Location, given: settings.KubeletApprover, root: settings.Root, faults: Faults
) -> None:
    issuers = Table("issuer", root.issuers, ("issuers",))
    for name, signer in (("client", given.signers.client), ("serving", given.signers.serving)):
        if signer:
            faults.reference((*at, "signers", name, "issuer"), signer.issuer, issuers)
            issuer = root.issuers.get(signer.issuer)
            if issuer and issuer.vault and issuer.vault.endpoint == "issue":
                message = "makes keys itself (endpoint `issue`), and a kubelet's key is its own"
                faults.add((*at, "signers", name, "issuer"), message)
    if given.policy.shortest > given.policy.longest:
        faults.add((*at, "policy", "shortest"), "is longer than `longest`")
    access = given.api
    if access.kubeconfig and access.server:
        faults.add((*at, "api"), "at most one of kubeconfig, server must be given")
    files = ("ca_file", "certificate", "key", "token_file")
    for key in [each for each in files if getattr(access, each) and not access.server]:
        faults.add((*at, "api", key), "goes with `server` only")
    if bool(access.certificate) != bool(access.key):
        faults.add((*at, "api"), "certificate and key go together")


def _kubelet(at: Location, given: settings.Kubelet, root: settings.Root, faults: Faults) -> None:
    if given.lifetime is not None and given.lifetime < SHORTEST:
        faults.add((*at, "lifetime"), "is under 10m, and the API server accepts nothing shorter")
    if not given.purposes:
        faults.add((*at, "purposes"), "must name `client`, `serving`, or both")
    faults.twice((*at, "purposes"), given.purposes)
    if given.dns_names and not given.ip_addresses:
        faults.add((*at, "ip_addresses"), "is required with dns_names", (*at, "dns_names"))
    if given.bootstrap and given.bootstrap.vault:
        vaults = Table("entry of vaults", root.vaults, ("vaults",))
        connection = given.bootstrap.vault.connection
        faults.reference((*at, "bootstrap", "vault", "connection"), connection, vaults)
    for kind in ("static_pod", "container"):
        if getattr(given.restart, kind):
            faults.add((*at, "restart", kind), "a kubelet is none: it keeps them")
    if (program := given.restart.exec) and not (program.command or ("",))[0].startswith("/"):
        where = (*at, "restart", "exec", "command")
        faults.add(where, "must start with the absolute path of a program")


def _order(root: settings.Root, faults: Faults) -> None:
    known = root.components
    table = Table("component", known, ("components",))
    for name, component in known.items():
        faults.twice(("components", name, "after"), component.after)
        for i, other in enumerate(component.after):
            faults.reference(("components", name, "after", i), other, table)
    waits = {
        name: {other for other in each.after if other in known} for name, each in known.items()
    }
    while cycle := _cycle(waits):
        told = " -> ".join(cycle)
        faults.add(("components", cycle[0], "after"), f"is a cycle: {told} (-> reads 'waits for')")
        waits = {name: others for name, others in waits.items() if name not in cycle}


def _cycle(waits: dict[str, set[str]]) -> list[str]:
    """Return one cycle, beginning and ending with the name that stands first in the file."""
    try:
        graphlib.TopologicalSorter(waits).prepare()
    except graphlib.CycleError as e:
        found: list[str] = e.args[1][:0:-1]  # graphlib tells what comes before, not what waits
        first = found.index(next(name for name in waits if name in found))
        return [*found[first:], *found[:first], found[first]]
    return []


class _Components:
    """Checks components and their certificates; remembers names and paths across them."""

    def __init__(self, root: settings.Root, faults: Faults) -> None:
        self._root = root
        self._faults = faults
        self._outputs = OutputChecks(root, faults)
        self._owners: dict[str, str] = {}
        self._certificates: dict[str, settings.Certificate] = {}
        for component, each in root.components.items():
            for name, certificate in each.certificates.items():
                self._owners.setdefault(name, component)
                self._certificates.setdefault(name, certificate)

    def check(self) -> None:
        for name, component in self._root.components.items():
            self._component(("components", name), component)
        self._outputs.check_paths()

    def _component(self, at: Location, given: settings.Component) -> None:
        if not given.certificates:
            self._faults.add((*at, "certificates"), "must name at least one certificate")
        for name, certificate in given.certificates.items():
            here = (*at, "certificates", name)
            if (owner := self._owners[name]) != at[-1]:
                self._faults.add(here, f"the name is taken by a certificate of component '{owner}'")
            self._certificate(here, certificate)
        for i, proof in enumerate(given.proofs):
            self._proof((*at, "proofs", i), proof, given)
        for i, gate in enumerate(given.gates):
            self._gate((*at, "gates", i), gate)
            if gate.etcd:
                self._verifiable(at, given)
        self._activation(at, given)

    def _activation(self, at: Location, given: settings.Component) -> None:
        here, activation = (*at, "activation"), given.activation
        if given.reads and not activation.auto:
            self._faults.add((*at, "reads"), "goes with the activation `auto` only", here)
        kind = "auto" if activation.auto else "reload"
        proved = any(each.tls or each.client for each in given.proofs)
        if (activation.reload or activation.auto) and not proved:
            self._faults.add(
                (*here, kind),
                "needs a tls or client proof: that a process re-read its files must be seen",
                (*at, "proofs"),
            )
        if command := activation.exec:
            self._program((*here, "exec"), command)
        if (restart := activation.restart) and restart.exec:
            self._program((*here, "restart", "exec"), restart.exec)
        if auto := activation.auto:
            self._auto((*here, "auto"), auto, given)

    def _auto(self, at: Location, auto: settings.Auto, component: settings.Component) -> None:
        """What the reload matrix is asked about must be in it."""
        programs = presets.programs()
        table = Table("program of the reload matrix", programs, ())
        if not self._faults.reference((*at, "program"), auto.program, table):
            return
        if auto.restart.exec:
            self._program((*at, "restart", "exec"), auto.restart.exec)
        for i, source in enumerate(auto.version):
            if source.https:
                self._client((*at, "version", i, "https"), source.https.client_certificate)
        here = at[:2]
        for name, certificate in component.certificates.items():
            named = (*here, "certificates", name)
            self._material((*named, "material"), certificate.material, programs[auto.program])
            if pair_material(certificate) is None:
                self._faults.add(
                    (*named, "material"),
                    "is required with `auto`: what is the pair to the program?",
                    at,
                )
            for i, output in enumerate(certificate.outputs):
                at_output = (*named, "outputs", i, "material")
                self._material(at_output, output.material, programs[auto.program])
                if output.ca and output.material is None:
                    self._faults.add(
                        at_output,
                        "is required with `auto`: what is the CA file to the program?",
                        at,
                    )
        for i, file in enumerate(component.reads):
            self._material((*here, "reads", i, "material"), file.material, programs[auto.program])

    def _material(self, at: Location, material: str | None, program: presets.Program) -> None:
        if material is not None:
            known = Table(f"material of {program.name}", program.materials, ())
            asked_of = (*at[:2], "activation", "auto", "program")
            self._faults.reference(at, material, known, asked_of)

    def _program(self, at: Location, given: settings.ActivationCommand) -> None:
        self._command((*at, "command"), given.command)
        if given.only_if:
            self._command((*at, "only_if"), given.only_if)

    def _command(self, at: Location, command: tuple[str, ...]) -> None:
        if not command or not command[0].startswith("/"):
            self._faults.add(at, "must start with the absolute path of a program")

    def _certificate(self, at: Location, given: settings.Certificate) -> None:
        issuers = Table("issuer", self._root.issuers, ("issuers",))
        self._faults.reference((*at, "issuer"), given.issuer, issuers)
        if len(given.common_name) > _COMMON_NAME_LIMIT:
            self._faults.add((*at, "common_name"), "must have at most 64 characters")
        for i, organization in enumerate(given.organizations):
            if len(organization) > _COMMON_NAME_LIMIT:
                self._faults.add((*at, "organizations", i), "must have at most 64 characters")
        if not any(usage.extended for usage in given.usages):
            self._faults.add((*at, "usages"), "must name 'server auth' or 'client auth', or both")
        if Usage.SERVER_AUTH in given.usages and not (given.dns_names or given.ip_addresses):
            self._faults.add(
                (*at, "dns_names"),
                "a server certificate needs dns_names or ip_addresses: clients ignore the CN",
                (*at, "usages"),
                (*at, "ip_addresses"),
            )
        for key in ("organizations", "dns_names", "ip_addresses", "uris", "usages"):
            self._faults.twice((*at, key), getattr(given, key))
        self._outputs.certificate(at, given)

    def _proof(self, at: Location, given: settings.Proof, component: settings.Component) -> None:
        activation = component.activation
        if given.started and (activation.reload or activation.none):
            self._faults.add(
                (*at, "started"), "can never hold: this activation starts no process anew"
            )
        if given.started and activation.auto:
            self._faults.add(
                (*at, "started"), "goes without saying with `auto`, which sees to it by itself"
            )
        if given.tls:
            self._own((*at, "tls"), given.tls.certificate, Usage.SERVER_AUTH, component)
            self._client((*at, "tls"), given.tls.client_certificate)
        if given.client:
            self._own((*at, "client"), given.client.certificate, Usage.CLIENT_AUTH, component)

    def _gate(self, at: Location, given: settings.Gate) -> None:
        if given.https:
            self._client((*at, "https"), given.https.client_certificate)
        if given.exec:
            self._command((*at, "exec", "command"), given.exec.command)
        if given.etcd:
            self._client((*at, "etcd"), given.etcd.client_certificate)
        if server := given.kube_apiserver:
            self._client((*at, "kube_apiserver"), server.client_certificate)
            if server.resources and server.client_certificate is None:
                self._faults.add(
                    (*at, "kube_apiserver", "resources"), "needs a client_certificate to list with"
                )
        if given.lease:
            self._client((*at, "lease"), given.lease.client_certificate)

    def _verifiable(self, at: Location, etcd: settings.Component) -> None:
        """Refuse what the etcd gate cannot ask: gRPC verifies no Ed25519 signature of a server."""
        for name, each in etcd.certificates.items():
            key = each.key or self._root.defaults.key
            asked = Usage.SERVER_AUTH in each.usages and each.material in (None, "serving")
            if asked and key is KeyAlgorithm.ED25519:
                where = (*at, "certificates", name, "key")
                self._faults.add(
                    where,
                    "must not be ed25519: the etcd gate could not ask a server with such a key",
                    ("defaults", "key"),
                )

    def _own(self, at: Location, name: str, usage: Usage, component: settings.Component) -> None:
        where = (*at, "certificate")
        here = ("components", at[1], "certificates")
        table = Table("certificate of this component", component.certificates, here)
        if self._faults.reference(where, name, table):
            self._used_as(where, name, usage)

    def _client(self, at: Location, name: str | None) -> None:
        where = (*at, "client_certificate")
        table = Table("certificate", self._certificates, ("components",))
        if name is not None and self._faults.reference(where, name, table):
            self._used_as(where, name, Usage.CLIENT_AUTH)

    def _used_as(self, at: Location, name: str, usage: Usage) -> None:
        given = self._certificates[name]
        home = ("components", self._owners.get(name, ""), "certificates", name)
        if usage not in given.usages:
            message = f"the certificate '{name}' has no usage '{usage}'"
            self._faults.add(at, message, (*home, "usages"))
        if usage is Usage.CLIENT_AUTH and not holds_identity(given.outputs):
            message = f"the outputs of '{name}' do not hold both certificate and key"
            self._faults.add(at, message, (*home, "outputs"))
