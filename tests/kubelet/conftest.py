from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kubelet.master import Master
from tests.testbed.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.testbed.staticpods import StaticPodNode
    from tests.testbed.vaultserver import VaultServer


@pytest.fixture(scope="module")
def master(static_pod_node: StaticPodNode, vault_server: VaultServer) -> Iterator[Master]:
    """certrotd on a node that the tests of one module share."""
    with Relay(static_pod_node.namespaces, vault_server.port):
        yield Master(static_pod_node, vault_server, static_pod_node.directory.name)
