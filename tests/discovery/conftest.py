from __future__ import annotations

import pytest

from tests.discovery.kubeadm import KubeadmNode


@pytest.fixture(scope="session")
def master(tmp_path_factory: pytest.TempPathFactory) -> KubeadmNode:
    """A node as kubeadm makes it without further wishes; only looked at."""
    return KubeadmNode(tmp_path_factory.mktemp("master") / "kubernetes").make()
