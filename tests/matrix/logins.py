"""The row of etcd that needs users: the keys that sign their tokens, on an etcd of their own."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any

from certrotd.core.model import OutputKind
from tests.matrix import tokens
from tests.matrix.case import FileCase
from tests.matrix.publishing import client_spec, leaf
from tests.testbed.build import ensure
from tests.testbed.inventory import ETCD, HOST, Domain
from tests.testbed.processes import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.matrix.bed import Bed
    from tests.matrix.case import Case
    from tests.matrix.publishing import Edition

_ROOT = {"name": "root", "password": "of this test"}


def cases(bed: Bed) -> Iterator[Case]:
    """Log in, and see who signed the token."""
    files = leaf(client_spec(bed.rows(ETCD), "token-keys"), bed.labs[Domain.ETCD])
    port, peer = free_ports(2, HOST)
    keys = f"pub-key={files.path()},priv-key={files.path(OutputKind.KEY)}"
    argv = [
        str(ensure(ETCD)),
        f"--data-dir={bed.directory / 'second-etcd'}",
        f"--listen-client-urls=http://{HOST}:{port}",
        f"--advertise-client-urls=http://{HOST}:{port}",
        f"--listen-peer-urls=http://{HOST}:{peer}",
        f"--initial-advertise-peer-urls=http://{HOST}:{peer}",
        f"--initial-cluster=default=http://{HOST}:{peer}",
        f"--auth-token=jwt,{keys},sign-method=ES256,ttl=10m",
    ]

    def has_users() -> bool:
        _post(port, "user/add", _ROOT)
        _post(port, "user/grant", {"user": "root", "role": "root"})
        _post(port, "enable", {})
        return bool(_token(port))

    twin = bed.twin(ETCD, port, argv, has_users)

    def used(edition: Edition) -> bool:
        return tokens.signed_by(_token(port), edition)

    yield FileCase(
        program=ETCD,
        material="token-keys",
        process=twin.name,
        evidence="the signature of a new token",
        files=files,
        used=used,
        interval=0.5,
    )


def _token(port: int) -> str:
    """A token of root; empty while there are no users."""
    return str(_post(port, "authenticate", _ROOT).get("token", ""))


def _post(port: int, what: str, body: dict[str, str]) -> dict[str, Any]:
    """Ask etcd's JSON gateway; what it refuses because it was done before is no fault."""
    connection = http.client.HTTPConnection(HOST, port, timeout=15)
    try:
        connection.request("POST", f"/v3/auth/{what}", json.dumps(body))
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()
