from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.node import Node

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Node:
    return Node(tmp_path, capsys)
