"""What an inventory and a resolver do, the fake ones included; then what real ones go through."""

from __future__ import annotations

import socket
import threading
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from certrotd.adapters.inventory import FileInventory
from certrotd.adapters.resolver import SystemResolver
from certrotd.core.errors import CertrotdError, PermanentError, TransientError
from certrotd.core.model.kubelets import KnownNames
from tests.fakes.names import FakeInventory, FakeResolver

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.ports.kubelets import Inventory, Resolver

LOCAL = frozenset({ip_address("127.0.0.1")})
KNOWN = KnownNames(
    dns_names=frozenset({"node-1.example"}),
    ip_addresses=frozenset({ip_address("10.0.0.11"), ip_address("fd00::11")}),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "nodes.yaml"
    path.write_text('node-1: [node-1.example, 10.0.0.11, "fd00::11"]\n')
    return path


@pytest.fixture(params=["fake", "file"])
def inventory(request: pytest.FixtureRequest, path: Path) -> Inventory:
    return FakeInventory({"node-1": KNOWN}) if request.param == "fake" else FileInventory(str(path))


@pytest.fixture(params=["fake", "system"])
def resolver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    if request.param == "fake":
        return FakeResolver({"localhost": LOCAL})
    # The machine's resolver is as good as its network; only its C function is put aside.
    monkeypatch.setattr(socket, "getaddrinfo", answering)
    return SystemResolver()


def answering(name: str, *_: Any, **__: Any) -> list[Any]:
    if name == "localhost.":
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))] * 2
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_names_and_addresses_of_a_node_are_told_apart(inventory: Inventory) -> None:
    assert inventory.of("node-1") == KNOWN


def test_a_node_that_is_not_listed_has_nothing(inventory: Inventory) -> None:
    assert inventory.of("node-2") == KnownNames()


def test_a_name_has_addresses_or_none(resolver: Resolver) -> None:
    assert resolver.addresses("localhost") == LOCAL
    assert resolver.addresses("nobody.example") == frozenset()


def test_a_changed_inventory_is_read_again(path: Path) -> None:
    inventory = FileInventory(str(path))
    inventory.of("node-1")
    path.write_text("node-1: [10.9.9.9]\n")
    assert inventory.of("node-1").ip_addresses == {ip_address("10.9.9.9")}
    path.write_text("")
    assert inventory.of("node-1") == KnownNames()


@pytest.mark.parametrize("content", [
    "node-1: 10.0.0.11", "node-1: [1]", "- node-1", "node-1: [a", "node-1: {a: b}",
])  # fmt: skip
def test_what_is_no_inventory_is_an_error_and_not_empty(path: Path, content: str) -> None:
    path.write_text(content)
    inventory = FileInventory(str(path))
    for _ in range(2):
        with pytest.raises(PermanentError, match=str(path)):
            inventory.of("node-1")


def test_an_inventory_that_is_gone_is_an_error(path: Path) -> None:
    inventory = FileInventory(str(path))
    inventory.of("node-1")
    path.unlink()
    with pytest.raises(CertrotdError, match="No such file"):
        inventory.of("node-1")


def test_a_resolver_that_is_busy_or_hangs_is_no_no(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", busy)
    with pytest.raises(TransientError, match="Temporary failure"):
        SystemResolver().addresses("node-1.example")
    free = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: free.wait() and [])
    resolver = SystemResolver(limit=0.05)
    began = time.monotonic()
    for _ in range(10):  # more than may hang at the same time
        with pytest.raises(TransientError):
            resolver.addresses("node-1.example")
    assert time.monotonic() - began < 5
    free.set()
