"""Settings to the values the rest of certrotd works with."""

from __future__ import annotations

import grp
import os
import posixpath
import pwd
import re
from datetime import timedelta
from typing import TYPE_CHECKING

from certrotd.config import checks
from certrotd.config.configuration import Config
from certrotd.config.faults import Faults
from certrotd.config.outputs import embeds, kind_of, material_of, path_of
from certrotd.config.source import in_order
from certrotd.core import model
from certrotd.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.config import settings
    from certrotd.config.source import Location, Source
    from certrotd.config.validation import Validated

SHORTEST_TTL = timedelta(days=3)
LONGEST_TTL = timedelta(days=366)
_LONGEST_DETAIL = 60
_HIGHEST_ID = 2**32 - 2
"""(uid_t) -1 means "leave it" to chown(2)."""


def build(path: Path, source: Source, validated: Validated) -> Config:
    """Check what spans sections and build the Config.

    Raises:
        ConfigError: with every fault found.
    """
    root, faults = validated.root, Faults(source, validated)
    checks.check(root, faults)
    builder = _Builder(root, faults)
    components = tuple(builder.component(name, each) for name, each in root.components.items())
    if faults.problems:
        raise ConfigError(in_order(faults.problems))
    return Config(
        path=path,
        node=root.node or os.uname().nodename,
        settings=root,
        components=components,
        schedule=model.Schedule(daily_at=root.schedule.daily_at, splay=root.schedule.splay),
    )


def activation_of(given: settings.Activation) -> tuple[model.ActivationKind, str]:
    """Return the activation's kind and how people read it."""
    if given.auto:
        return model.ActivationKind.AUTO, _restart_of(given.auto.restart)
    if given.restart:
        return model.ActivationKind.RESTART, _restart_of(given.restart)
    if given.signal:
        target = given.signal.unit or given.signal.pidfile
        return model.ActivationKind.SIGNAL, f"SIG{given.signal.signal} to {target}"
    if given.exec:
        return model.ActivationKind.EXEC, _run_of(given.exec)
    if given.reload:
        return model.ActivationKind.RELOAD, "reloads by itself"
    return model.ActivationKind.NONE, "nothing"


def _restart_of(given: settings.Restart) -> str:
    if given.unit:
        return f"restart {given.unit}"
    if pod := given.static_pod:
        return f"restart static pod {pod.namespace}/{pod.name}"
    if given.container:
        labels = ",".join(f"{key}={value}" for key, value in given.container.labels.items())
        return _shortened(f"restart container {labels}")
    if given.process:
        return f"restart the process of {given.process.pidfile}"
    return _run_of(given.exec) if given.exec else "restart"


def _run_of(given: settings.ActivationCommand) -> str:
    program, *arguments = given.command or ("",)
    return _shortened(" ".join(("run", posixpath.basename(program), *arguments)))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_DETAIL else f"{text[: _LONGEST_DETAIL - 1]}…"


class _Builder:
    """Fills in defaults and resolves users and groups."""

    def __init__(self, root: settings.Root, faults: Faults) -> None:
        self._defaults = root.defaults
        self._faults = faults

    def component(self, name: str, given: settings.Component) -> model.Component:
        at: Location = ("components", name)
        kind, detail = activation_of(given.activation)
        certificates = tuple(
            self._certificate(name, (*at, "certificates", certificate), each)
            for certificate, each in given.certificates.items()
        )
        return model.Component(
            name=model.ComponentName(name),
            certificates=certificates,
            after=tuple(model.ComponentName(each) for each in given.after),
            activation=kind,
            activation_detail=detail,
            program=given.activation.auto.program if given.activation.auto else "",
            reads=tuple(model.ReadFile(path=e.path, material=e.material) for e in given.reads),
            proof_deadline=given.proof_deadline,
            settle=given.settle,
        )

    def _certificate(
        self, component: str, at: Location, given: settings.Certificate
    ) -> model.CertificateSpec:
        name = str(at[-1])
        ttl = given.ttl or self._defaults.ttl
        if ttl < SHORTEST_TTL:
            where = (*at, "ttl") if given.ttl else ("defaults", "ttl")
            self._faults.add(
                where, "under 3 daily periods: one lost day would be an outage; use 3d or more"
            )
        if ttl > LONGEST_TTL:
            where = (*at, "ttl") if given.ttl else ("defaults", "ttl")
            self._faults.add(where, "over a year: what is replaced daily need not live so long")
        return model.CertificateSpec(
            name=model.CertificateName(name),
            component=model.ComponentName(component),
            issuer=model.IssuerName(given.issuer),
            role=given.role or name,
            common_name=given.common_name,
            organizations=given.organizations,
            dns_names=given.dns_names,
            ip_addresses=given.ip_addresses,
            uris=given.uris,
            usages=given.usages,
            key=given.key or self._defaults.key,
            ttl=ttl,
            outputs=tuple(
                self._output((*at, "outputs", i), each, given)
                for i, each in enumerate(given.outputs)
            ),
        )

    def _output(
        self, at: Location, given: settings.Output, certificate: settings.Certificate
    ) -> model.Output:
        kind = kind_of(given)
        kubeconfig = None
        if kind == "kubeconfig":
            kubeconfig = model.Kubeconfig(
                server=given.server or "",
                cluster=given.cluster or "kubernetes",
                user=given.user or certificate.common_name,
                embed=embeds(given),
                ca_file=given.ca_file,
            )
        secret = kind in ("key", "combined") or embeds(given)
        mode = given.mode if given.mode is not None else (0o600 if secret else 0o644)
        if secret and mode & 0o004:
            self._faults.add(
                (*at, "mode"), "would let everybody read a private key; use 0600 or 0640"
            )
        uid, gid = self._owner(at, given)
        return model.Output(
            path=path_of(given),
            kind=model.OutputKind(kind),
            mode=mode,
            uid=uid,
            gid=gid,
            kubeconfig=kubeconfig,
            material=material_of(given, certificate),
        )

    def _owner(self, at: Location, given: settings.Output) -> tuple[int | None, int | None]:
        def place(key: str, own: str | None) -> Location:
            return (*at, key) if own else ("defaults", key)

        owner = given.owner or self._defaults.owner
        group = given.group or self._defaults.group
        uid = self._id(place("owner", given.owner), "user", owner)
        gid = self._id(place("group", given.group), "group", group)
        return uid, gid

    def _id(self, at: Location, kind: str, name: str | None) -> int | None:
        if name is None:
            return None
        if re.fullmatch("[0-9]+", name):
            if int(name) > _HIGHEST_ID:
                self._faults.add(at, f"is no {kind} number: it is too large")
            return int(name)
        try:
            return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
        except KeyError:
            self._faults.add(at, f"there is no {kind} '{name}' on this machine")
            return None
