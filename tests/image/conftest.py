from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.image.build import Image, build, remove, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The built image, its files mounted for runc."""
    if reason := unavailable():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("image")
    try:
        yield build(directory)
    finally:
        remove(directory)
