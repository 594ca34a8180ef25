"""A store and a home for every test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.store import GenerationStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "pki"
    directory.mkdir(mode=0o755)
    return directory


@pytest.fixture
def store(tmp_path: Path) -> GenerationStore:
    return GenerationStore(str(tmp_path / "state" / "history"), keep=3)
