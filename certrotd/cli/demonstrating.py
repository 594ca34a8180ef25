"""The `demo` command."""

from __future__ import annotations

import click


@click.command()
@click.option("--keep", is_flag=True, help="Leave the folder, the servers' files and a config.")
def demo(*, keep: bool) -> None:
    """Rotate a small control plane on this machine: no root, no Vault, no cluster.

    Four real mTLS servers play etcd, kube-apiserver, controller-manager and scheduler while a
    client talks to them; one then refuses its new certificate and gets the old one back.

    \b
    Examples:
      certrotd demo
      certrotd demo --keep
    """
    from certrotd.demo import show

    show(keep=keep)
