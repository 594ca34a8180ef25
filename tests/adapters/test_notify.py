"""What systemd is told, read from real sockets."""

from __future__ import annotations

import os
import secrets
import socket
import time
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The service manager's address and its end of the socket."""
    address = str(tmp_path / "notify")
    if request.param == "abstract":
        address = f"@certrotd-test-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        channel.settimeout(10)
        yield address, channel


def test_every_message_arrives(manager: tuple[str, socket.socket]) -> None:
    address, channel = manager
    notifier = Notifier(address)
    notifier.ready()
    notifier.ready("next slot 03:17")
    notifier.status("two lines\nbecome one")
    notifier.watchdog()
    notifier.stopping()
    assert [channel.recv(4096) for _ in range(5)] == [
        b"READY=1",
        b"READY=1\nSTATUS=next slot 03:17",
        b"STATUS=two lines become one",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


def test_reloading_carries_the_monotonic_time(manager: tuple[str, socket.socket]) -> None:
    address, channel = manager
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier(address).reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    first, second = channel.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    name, _, value = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= after


@pytest.mark.parametrize("address", [None, "", "@", "relative", "vsock:2:1234", "/no/such/socket"])
def test_without_a_manager_nothing_happens(address: str | None) -> None:
    notifier = Notifier(address)
    notifier.ready("up")
    notifier.reloading()
    notifier.status("\udc80 not text")
    notifier.watchdog()
    notifier.stopping()


def test_a_manager_that_does_not_read_does_not_hold_the_daemon(
    manager: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certrotd.adapters.notify.PATIENCE", 0.01)
    notifier = Notifier(manager[0])
    for _ in range(2000):  # more than net.unix.max_dgram_qlen at first
        notifier.watchdog()
        if _queue_is_full(manager[0]):
            break
    notifier.watchdog()


def _queue_is_full(address: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(0)  # do not wait
        try:
            channel.sendto(b"X=1", f"\0{address[1:]}" if address.startswith("@") else address)
        except BlockingIOError:
            return True
    return False


def test_the_environment_is_read_and_taken_away_from_children(
    manager: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, channel = manager
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    notifier = Notifier.from_environment()
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & os.environ.keys()
    assert notifier.watchdog_interval() == 30
    notifier.ready()
    assert channel.recv(4096) == b"READY=1"


@pytest.mark.parametrize(
    ("limit", "process", "interval"),
    [
        ("3000000", None, 1.5),
        ("3000000", "1", None),  # meant for another process
        ("0", None, None),
        ("-5", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_wants_to_be_told_twice_in_its_limit(
    monkeypatch: pytest.MonkeyPatch, limit: str | None, process: str | None, interval: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", limit), ("WATCHDOG_PID", process)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert Notifier.from_environment().watchdog_interval() == interval
