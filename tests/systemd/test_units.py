"""certrotd as systemd runs it: sandboxed, watched, reloaded, stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.systemd.node import DAEMON, ONCE

if TYPE_CHECKING:
    from tests.systemd.node import Node

pytestmark = pytest.mark.systemd


def test_the_daemon_rotates_what_is_due_and_the_process_serves_it(node: Node) -> None:
    before = node.served()
    node.start_daemon()
    node.await_daemon("run_finished")
    print(node.container.journal(DAEMON))
    assert node.published() != before
    assert node.served() == node.published()
    assert node.container.property(DAEMON, "ActiveState") == "active"


def test_a_single_run_ends_with_success(node: Node) -> None:
    before = node.served()
    node.container.systemctl("start", ONCE)
    assert node.container.property(ONCE, "Result") == "success"
    assert node.served() == node.published() != before
