"""What a control plane of the testbed is asked with: its CAs, and outputs that hold identities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.core.model import Kubeconfig, Output, OutputKind
from tests.testbed.inventory import ADMIN, Domain

if TYPE_CHECKING:
    from pathlib import Path

    from tests.testbed.controlplane import ControlPlane


def kubernetes_ca(plane: ControlPlane) -> str:
    """The CA of the API server, controller-manager and scheduler."""
    return str(plane.layout.authorities[Domain.KUBERNETES])


def etcd_ca(plane: ControlPlane) -> str:
    """The CA of etcd's servers."""
    return str(plane.layout.authorities[Domain.ETCD])


def etcd_client(plane: ControlPlane) -> tuple[Output, ...]:
    """The pair that health checks of etcd are made with."""
    pair = plane.inventory().certificate("etcd-healthcheck-client")
    return pair_at(pair.certificate, pair.key)


def pair_at(certificate: Path | None, key: Path | None) -> tuple[Output, ...]:
    """A pair in two files."""
    return (
        Output(path=str(certificate), kind=OutputKind.CERTIFICATE, mode=0o644),
        Output(path=str(key), kind=OutputKind.KEY, mode=0o600),
    )


def admin_of(plane: ControlPlane, name: str = ADMIN) -> tuple[Output, ...]:
    """The identity that a kubeconfig of the plane embeds, the admin's if nothing else is said."""
    path = str(plane.layout.kubeconfig(name))
    embedded = Kubeconfig(server=plane.ports.api)
    return (Output(path=path, kind=OutputKind.KUBECONFIG, mode=0o600, kubeconfig=embedded),)
