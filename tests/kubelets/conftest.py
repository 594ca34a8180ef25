"""Clusters for the kubelets' path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kubelets.approver import MANIFESTS
from tests.kubelets.lab import BOOTSTRAPPERS, KubeletLab

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESSES = (("Hostname", "node-1"), ("InternalDNS", "node-1.example"), ("InternalIP", "10.0.0.11"))


def opened(lab: KubeletLab, *, with_signer: bool) -> KubeletLab:
    """Start it, with the rights that kubeadm and our manifests give, and a node."""
    lab.plane.start("etcd", "kube-apiserver", "kube-controller-manager")
    lab.apply(MANIFESTS / "kubelet-approver.yaml")
    if with_signer:
        lab.apply(MANIFESTS / "kubelet-signer.yaml")
    lab.bind("system:node-bootstrapper", BOOTSTRAPPERS)
    lab.make_node("node-1", *ADDRESSES)
    return lab


@pytest.fixture(scope="module")
def signing_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeletLab]:
    """kube-controller-manager signs, and approves nothing."""
    directory = tmp_path_factory.mktemp("signing")
    lab = KubeletLab(directory)
    lab.controller_manager("*,-certificatesigningrequest-approving-controller", signs=True)
    try:
        yield opened(lab, with_signer=False)
    finally:
        lab.plane.stop()


@pytest.fixture(scope="module")
def unsigning_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeletLab]:
    """kube-controller-manager neither signs nor approves, and has no CA key."""
    lab = KubeletLab(tmp_path_factory.mktemp("unsigning"))
    lab.controller_manager(
        "*,-certificatesigningrequest-approving-controller,-certificatesigningrequest-signing-controller",
        signs=False,
    )
    try:
        yield opened(lab, with_signer=True)
    finally:
        lab.plane.stop()
