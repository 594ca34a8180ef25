"""Settings to the values the rest of certrotd works with, after checks that span sections."""

from __future__ import annotations

import grp
import pwd
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from certrotd.config import settings
from certrotd.config.checks import Checker, activation_of
from certrotd.config.source import host_name
from certrotd.core import model
from certrotd.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from certrotd.config.source import Location, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A complete, checked configuration.

    `settings` is what the composition root builds adapters from; `components` is what the
    rotator works on, in the order of the file.
    """

    path: Path
    node: str
    settings: settings.Root
    components: tuple[model.Component, ...]
    schedule: model.Schedule


def build(path: Path, source: Source, root: settings.Root) -> Config:
    """Check what spans sections and build the Config.

    Raises:
        ConfigError: with every fault found.
    """
    checker = Checker(source, root)
    checker.check()
    builder = _Builder(root, checker.fault)
    components = tuple(builder.component(name, each) for name, each in root.components.items())
    if checker.problems:
        raise ConfigError(tuple(checker.problems))
    schedule = model.Schedule(daily_at=root.schedule.daily_at, splay=root.schedule.splay)
    return Config(
        path=path,
        node=root.node or host_name(),
        settings=root,
        components=components,
        schedule=schedule,
    )


class _Builder:
    """Fills in defaults and resolves users and groups."""

    def __init__(self, root: settings.Root, fault: Callable[[Location, str], None]) -> None:
        self._defaults = root.defaults
        self._fault = fault

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
            proof_deadline=given.proof_deadline,
            settle=given.settle,
        )

    def _certificate(
        self, component: str, at: Location, given: settings.Certificate
    ) -> model.CertificateSpec:
        name = str(at[-1])
        ttl = given.ttl or self._defaults.ttl
        if ttl < timedelta(days=3):
            where = (*at, "ttl") if given.ttl else ("defaults", "ttl")
            self._fault(
                where, "under 3 daily periods: one lost day would be an outage; use 3d or more"
            )
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
        kind = next(each for each in settings.Output.one_of if getattr(given, each) is not None)
        kubeconfig = None
        if kind == "kubeconfig":
            kubeconfig = model.Kubeconfig(
                server=given.server or "",
                cluster=given.cluster,
                user=given.user or certificate.common_name,
                embed=given.embed,
                ca_file=given.ca_file,
            )
        secret = kind in ("key", "combined") or (kind == "kubeconfig" and given.embed)
        mode = given.mode if given.mode is not None else (0o600 if secret else 0o644)
        if secret and mode & 0o004:
            self._fault((*at, "mode"), "would let everybody read a private key; use 0600 or 0640")
        uid, gid = self._owner(at, given)
        return model.Output(
            path=getattr(given, kind),
            kind=model.OutputKind(kind),
            mode=mode,
            uid=uid,
            gid=gid,
            kubeconfig=kubeconfig,
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
        if name.isdecimal():
            return int(name)
        try:
            return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
        except KeyError:
            self._fault(at, f"there is no {kind} '{name}' on this machine")
            return None
