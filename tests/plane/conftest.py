from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plane.master import Master
from tests.systemd.prerequisites import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Master]:
    """One master for the whole session, bootstrapped by certrotd."""
    if reason := unavailable():
        pytest.skip(reason)
    made = Master(tmp_path_factory.mktemp("plane"))
    with made.container:
        made.prepare()
        yield made


@pytest.fixture
def master(plane: Master) -> Iterator[Master]:
    """The master with everything ready; leave no unit changed and no hold behind."""
    yield plane
    plane.clear()
    plane.await_ready()
