"""Random lives on real TLS servers and a real Vault, a few in every test run."""

from __future__ import annotations

import time

import pytest

from tests.crash.hunts import live_really

pytestmark = pytest.mark.servers


def test_whatever_happens_a_node_comes_to_rest_with_what_vault_signed() -> None:
    seed = int(time.time())
    print(f"python -m tests.crash lives --seed {seed} plays more of these")
    assert live_really(lives=6, seed=seed, steps=15) > 40
