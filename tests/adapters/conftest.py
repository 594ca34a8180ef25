"""Laboratories on real Vaults, a control plane; asking for one needs the mark `servers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adapters.vaultlab import VaultLab
from tests.testbed.controlplane import ControlPlane
from tests.testbed.dayzero import issue_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.testbed.vaultserver import VaultServer


@pytest.fixture(scope="module")
def lab(vault_server: VaultServer, tmp_path_factory: pytest.TempPathFactory) -> VaultLab:
    """Shared: do not change its role or policy."""
    return VaultLab(vault_server, tmp_path_factory.mktemp("vaultlab"))


@pytest.fixture
def own_lab(vault_server: VaultServer, tmp_path: Path) -> VaultLab:
    """A mount, role and policy to change."""
    return VaultLab(vault_server, tmp_path)


@pytest.fixture
def own_server(own_vault_server: VaultServer, tmp_path: Path) -> VaultLab:
    """A server to stop and seal."""
    return VaultLab(own_vault_server, tmp_path)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane for the whole session; a test that stops a part starts it again."""
    made = ControlPlane(tmp_path_factory.mktemp("plane"))
    issue_all(made.inventory())
    with made:
        yield made
