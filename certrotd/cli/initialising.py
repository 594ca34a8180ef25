"""`certrotd config init`: a configuration from what this node runs."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from certrotd.discovery.document import Wishes
    from certrotd.discovery.inventory import Inventory


class Mount(click.ParamType["tuple[str, str]"]):
    """`ISSUER=MOUNT`: where an issuer's PKI secrets engine is mounted in Vault."""

    name = "ISSUER=MOUNT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Read it, or fail with a usage error."""
        from certrotd.config.scalars import mount

        name, sign, path = str(value).partition("=")
        if not name or not sign:
            self.fail("write ISSUER=MOUNT, for example etcd=pki/etcd", param, ctx)
        try:
            return name, mount(path)
        except ValueError as e:
            self.fail(str(e), param, ctx)


class Scalar(click.ParamType[str]):
    """A word as the configuration wants it; `kind` is a function of `config.scalars`."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self._kind = kind

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Read it, or fail with a usage error."""
        from certrotd.config import scalars

        try:
            return str(getattr(scalars, self._kind)(str(value)))
        except ValueError as e:
            self.fail(str(e), param, ctx)


@click.command()
@click.argument("units", nargs=-1, metavar="[UNIT]...")
@click.option("--from-kubeadm", is_flag=True, help="Read static pod manifests.")
@click.option(
    "--from-systemd",
    is_flag=True,
    help="Read systemd units: those named, or all that run a known program.",
)
@click.option(
    "--manifests",
    type=click.Path(path_type=str),
    help="Where they are; the kubelet's staticPodPath if left out.",
)
@click.option(
    "--issuer",
    type=click.Choice(["vault", "ca"]),
    default="vault",
    show_default=True,
    help="Who signs: Vault or OpenBao, or the CA keys on this node as with kubeadm.",
)
@click.option(
    "--vault-address", type=Scalar("URL", "https_url"), help="Vault's or OpenBao's address."
)
@click.option(
    "--issuer-mount",
    "mounts",
    type=Mount(),
    multiple=True,
    help="Where an issuer's PKI is mounted in Vault; pki/ISSUER if left out. Several times.",
)
@click.option("--cluster", type=Scalar("NAME", "name"), help="The cluster's name.")
@click.option(
    "--output-file",
    type=click.Path(path_type=Path),
    help="Write there, for root alone (0600), and not to standard output.",
)
@click.option("--force", is_flag=True, help="Replace the output file if there is one.")
def init(  # noqa: PLR0913  # one for each option
    *,
    units: tuple[str, ...],
    manifests: str | None,
    issuer: str,
    vault_address: str | None,
    mounts: tuple[tuple[str, str], ...],
    cluster: str | None,
    output_file: Path | None,
    from_kubeadm: bool,
    from_systemd: bool,
    force: bool,
) -> None:
    """Write a configuration from what this node runs; asks nothing and changes nothing.

    Reads the manifests or units of etcd, kube-apiserver, kube-controller-manager, kube-scheduler
    and what else is known, and every certificate and kubeconfig their flags name: CN, O, SANs,
    usages, key type, owner and mode go into the file as they are, so that `certrotd plan` finds
    nothing changed. What cannot be known is marked "fill in". Any fault (a file that is missing,
    two manifests of one pod) is told with file, line and flag, and nothing is written.

    \b
    A kubeadm master, at once and without Vault:
      certrotd config init --from-kubeadm --issuer ca --output-file /etc/certrotd/certrotd.yaml
      certrotd plan
      systemctl enable --now certrotd
    Units, with Vault; printed, to be read first:
      certrotd config init --from-systemd etcd kube-apiserver --vault-address https://vault:8200
    """
    from certrotd.discovery.document import Wishes, document, fill_ins

    if from_kubeadm == from_systemd:
        raise click.UsageError("give one of --from-kubeadm and --from-systemd")
    if units and not from_systemd:
        raise click.UsageError("units go with --from-systemd")
    if output_file is not None and not force and os.path.lexists(output_file):
        raise click.UsageError(f"{output_file} is there already; --force replaces it")
    wishes = Wishes(
        issuer=issuer, vault_address=vault_address or "", mounts=dict(mounts), cluster=cluster or ""
    )
    found = _of_units(units) if from_systemd else _of_pods(manifests)
    _check_mounts(wishes, found)
    text = document(found, wishes)
    if output_file is None:
        click.echo(text, nl=False)
    else:
        _write(output_file, text)
        _tell(output_file, found, fill_ins(text))


def _tell(path: Path, found: Inventory, places: int) -> None:
    """Say what was found and what comes next."""
    count = sum(len(each.certificates) for each in found.components)
    click.echo(f"{path}: {len(found.components)} components, {count} certificates.")
    if places:
        click.echo(f"{places} places are left to you: grep -n 'fill in' {path}")
    click.echo(f"Next: certrotd plan -c {path}")


def _write(path: Path, text: str) -> None:
    """Write the file and read it as every other command will.

    Raises:
        ConfigError: something on this node is not as a configuration can have it; the file is
            there, to be mended.
    """
    from certrotd.config import load
    from certrotd.core.errors import ConfigError
    from certrotd.durable import replace_file

    replace_file(str(path.absolute()), text.encode())
    try:
        load(path)
    except ConfigError as e:
        e.hint = f"{path} was written, but these faults must be mended first"
        raise


def _of_pods(manifests: str | None) -> Inventory:
    from certrotd.app import this_node
    from certrotd.discovery import pods
    from certrotd.discovery.kubelet import kubelet
    from certrotd.discovery.survey import survey

    node = this_node()
    folder = os.path.abspath(manifests or kubelet(node).manifests)  # noqa: PTH100  # no link resolved
    processes, notes = pods.processes(node, folder)
    return survey(node, processes, (posixpath.dirname(folder),), notes)


def _of_units(names: tuple[str, ...]) -> Inventory:
    from certrotd.app import this_node
    from certrotd.discovery import units
    from certrotd.discovery.survey import survey

    node = this_node()
    processes, notes = units.processes(node, names)
    return survey(node, processes, units.folders(processes), notes)


def _check_mounts(wishes: Wishes, found: Inventory) -> None:
    """Refuse a mount for an issuer that is not there: a slip of the pen.

    Raises:
        click.BadParameter: the issuers there are, are named.
    """
    known = [each.name for each in found.authorities]
    for name in wishes.mounts:
        if name not in known:
            raise click.BadParameter(f"there is no issuer {name}; there are {', '.join(known)}")
