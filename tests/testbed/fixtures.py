"""Session-wide real servers; tests that ask for them are marked `servers` or `kubelet`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.testbed.controlplane import ControlPlane
from tests.testbed.dayzero import issue_all
from tests.testbed.staticpods import StaticPodNode, unavailable
from tests.testbed.vaultserver import VaultServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def vault_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    """One unsealed Vault for the whole session: use mounts of your own, do not seal or stop it."""
    with VaultServer(tmp_path_factory.mktemp("vault"), storage="inmem") as server:
        yield server


@pytest.fixture
def own_vault_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    """A Vault of one's own, with storage that outlives a restart."""
    with VaultServer(tmp_path_factory.mktemp("own-vault")) as server:
        yield server


@pytest.fixture
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A running control plane with certificates of a throw-away CA."""
    plane = ControlPlane(tmp_path_factory.mktemp("kubernetes"))
    issue_all(plane.inventory())
    with plane:
        yield plane


@pytest.fixture(scope="module")
def static_pod_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StaticPodNode]:
    """A master as kubeadm makes it, its control plane in static pods under a real kubelet."""
    if reason := unavailable():
        pytest.skip(reason)
    with StaticPodNode(tmp_path_factory.mktemp("node")) as node:
        yield node
