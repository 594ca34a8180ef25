"""One PKI mount for all of a module's tests, a proxy and a node for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hostile.node import Node, Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hostile.proxy import HostileProxy
    from tests.testbed.vaultserver import VaultServer


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
