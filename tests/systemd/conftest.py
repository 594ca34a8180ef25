from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.systemd.container import Container
from tests.systemd.node import Node
from tests.systemd.prerequisites import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """One booted container for the whole session; leave no unit running and no hold behind."""
    if reason := unavailable():
        pytest.skip(reason)
    with Container(tmp_path_factory.mktemp("systemd")) as booted:
        yield booted


@pytest.fixture
def node(container: Container) -> Iterator[Node]:
    """A component that runs, served with a certificate that is due."""
    prepared = Node(container)
    try:
        prepared.prepare()
        yield prepared
    finally:
        prepared.clear()
