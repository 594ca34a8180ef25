"""The rows of the kubelet that it reads itself, on a real kubelet."""

from __future__ import annotations

import pytest

from tests.matrix.kubelet import KubeletBed
from tests.matrix.measuring import Finding, measure
from tests.matrix.report import saw, says
from tests.matrix.test_reload_matrix import BUSY
from tests.testbed.staticpods import unavailable

pytestmark = pytest.mark.kubelet


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    """Both, measured on one node."""
    if reason := unavailable():
        pytest.skip(reason)
    bed = KubeletBed(tmp_path_factory.mktemp("kubelet"))
    with bed.node:
        return {each.row.material: each for each in measure(bed.cases(), hold=0, rounds=1)}


@pytest.mark.parametrize("row", ["serving", "client-ca"])
def test_a_reload_is_seen_within_its_limit(row: str, findings: dict[str, Finding]) -> None:
    found = findings[row]
    assert found.row.reloads
    assert found.agrees(BUSY), f"the matrix says {says(found.row)}; {saw(found)}"
