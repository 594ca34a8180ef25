"""One PKI mount, one cluster for all tests; a proxy and a node for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from certrotd.kubelets import tending
from tests.hostile.csrpath import AskingNode, Cluster
from tests.hostile.node import Node, Site
from tests.kubelets.lab import KubeletLab
from tests.testbed.inventory import APISERVER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hostile.proxy import HostileProxy
    from tests.testbed.vaultserver import VaultServer

_CONTROLLERS = ("approving", "signing")


@pytest.fixture(scope="session")
def site(vault_server: VaultServer, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(vault_server, tmp_path_factory.mktemp("site"))


@pytest.fixture
def proxy(site: Site) -> Iterator[HostileProxy]:
    with site.proxy() as running:
        yield running


@pytest.fixture
def node(
    site: Site, proxy: HostileProxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Node:
    return Node(site, proxy, tmp_path, capsys)


@pytest.fixture
def many(
    site: Site, proxy: HostileProxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Node:
    return Node(site, proxy, tmp_path, capsys, certificates=8)


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """kube-controller-manager's own approver and signer of requests, and nothing else of it."""
    lab = KubeletLab(tmp_path_factory.mktemp("cluster"))
    controllers = (f"certificatesigningrequest-{each}-controller" for each in _CONTROLLERS)
    lab.controller_manager(",".join(controllers), signs=True)
    lab.plane.extra_arguments[APISERVER] = ["--enable-bootstrap-token-auth=true"]
    try:
        lab.plane.start("etcd", "kube-apiserver", "kube-controller-manager")
        yield Cluster(lab, tmp_path_factory.mktemp("proxies"))
    finally:
        lab.plane.stop()


@pytest.fixture
def asking(
    cluster: Cluster,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[AskingNode]:
    """A node and its proxy; who waits for an answer looks more often than certrotd does."""
    monkeypatch.setattr(tending, "FIRST_POLL", 0.02)
    with cluster.proxy() as running:
        yield AskingNode(cluster, running, tmp_path, capsys)
