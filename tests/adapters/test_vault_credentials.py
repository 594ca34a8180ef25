"""Credentials and trust anchors on disk, and what is loaded when."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.vault import (
    AppRoleAuth,
    CertificateAuth,
    TokenFileAuth,
    TokenRoleAuth,
    VaultConnection,
    VaultIssuer,
    VaultSession,
)
from certrotd.core.errors import (
    IssuerRefused,
)
from tests.factories import Lab, lab, make_request, make_spec
from tests.fakes.clock import FakeClock
from tests.fakes.log import RecordingLog
from tests.fakes.stop import FakeStop

if TYPE_CHECKING:
    from collections.abc import Callable

    from certrotd.adapters.vault.settings import Auth


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def sign(issuer: VaultIssuer) -> object:
    return issuer.sign(make_request(make_spec(Path("/etc/pki")))[1])


def session(auth: Auth, clock: FakeClock) -> VaultIssuer:
    connection = VaultConnection(
        address="https://127.0.0.1:1",
        auth=auth,
        connect_timeout=timedelta(seconds=1),
        read_timeout=timedelta(seconds=1),
        deadline=timedelta(seconds=1),
    )
    made = VaultSession(connection, clock, RecordingLog(), FakeStop(clock))
    return VaultIssuer(made, mount="pki", anchors_file="/nowhere")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"two words", "something else"),
        (b"hvs.CANARY\nhvs.CANARY\n", "something else"),
        (b"\xffCANARY", "something else"),
        (b"CANARY" * 20_000, "something else"),
    ],
)
@pytest.mark.parametrize(
    "auth",
    [
        lambda path: TokenFileAuth(path=path),
        lambda path: AppRoleAuth(role_id="r", secret_id_file=path),
        lambda path: AppRoleAuth(role_id_file=path, secret_id_file="/nowhere"),
        lambda path: AppRoleAuth(role_id="r", wrapped_secret_id_file=path),
        lambda path: TokenRoleAuth(method="jwt", mount="jwt", role="r", token_file=path),
    ],
)
def test_a_credential_file_without_a_credential_is_named(
    auth: Callable[[str], Auth],
    content: bytes | None,
    problem: str,
    tmp_path: Path,
    clock: FakeClock,
) -> None:
    path = tmp_path / "credential"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IssuerRefused, match=problem) as caught:
        sign(session(auth(str(path)), clock))
    assert str(path) in str(caught.value)
    assert caught.value.hint
    assert "CANARY" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("which", ["certificate", "key"])
def test_a_login_certificate_that_is_missing_is_named(
    which: str, tmp_path: Path, clock: FakeClock
) -> None:
    paths = {"certificate": str(tmp_path / "crt"), "key": str(tmp_path / "key")}
    for name, path in paths.items():
        if name != which:
            (tmp_path / path).write_text("x")
    with pytest.raises(IssuerRefused, match=paths[which]):
        sign(session(CertificateAuth(**paths), clock))


def test_a_systemd_credential_needs_systemd(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    auth = AppRoleAuth(role_id="r", secret_id_credential="certrotd-secret-id")
    with pytest.raises(IssuerRefused, match="no systemd credential certrotd-secret-id") as caught:
        sign(session(auth, clock))
    assert "LoadCredential=certrotd-secret-id:" in caught.value.hint


# Anchors, and what is loaded when


def test_anchors_are_read_from_the_pinned_file_each_time(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(b"# old\n" + lab().certificate)
    auth = TokenFileAuth(path="/nowhere")
    issuer = VaultIssuer(session(auth, clock)._session, mount="pki", anchors_file=str(path))
    assert issuer.anchors() == lab().anchors
    path.write_bytes(lab().certificate + Lab().certificate)
    assert len(issuer.anchors()) == 2
    for damage in (b"", b"rubbish", lab().certificate[:100]):
        path.write_bytes(damage)
        with pytest.raises(IssuerRefused, match=str(path)):
            issuer.anchors()
    path.unlink()
    with pytest.raises(IssuerRefused, match=f"{path}: No such file"):
        issuer.anchors()


def test_an_issuer_can_be_made_and_give_its_anchors_without_loading_hvac(tmp_path: Path) -> None:
    anchors = tmp_path / "ca.pem"
    anchors.write_bytes(lab().certificate)
    program = f"""
import sys, threading
from datetime import timedelta
from certrotd.adapters.clock import SystemClock
from certrotd.adapters.vault import TokenFileAuth, VaultConnection, VaultIssuer, VaultSession
second = timedelta(seconds=1)
connection = VaultConnection(address="https://vault:8200", auth=TokenFileAuth(path="/nowhere"),
    connect_timeout=second, read_timeout=second, deadline=second)
stop = threading.Event()
session = VaultSession(connection, SystemClock(stop), print, stop)
assert VaultIssuer(session, mount="pki", anchors_file={str(anchors)!r}).anchors()
session.close()
loaded = {{"hvac", "requests", "urllib3", "tenacity"}} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True)
