"""A field of a secret in a real Vault, in both versions of the key-value engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.vault.kv import read_field
from certrotd.core.errors import IssuerRefused
from certrotd.core.model import Secret
from tests.adapters.vaultlab import VaultLab

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.adapters.vault import VaultSession
    from tests.testbed.vaultserver import VaultServer

pytestmark = pytest.mark.servers
TOKEN = "abcdef.0123456789abcdef"


@pytest.fixture
def lab(vault_server: VaultServer, tmp_path: Path) -> VaultLab:
    made = VaultLab(vault_server, tmp_path)
    rules = f'path "{made.name}-kv*" {{ capabilities = ["read"] }}'
    vault_server.write_policy(made.name, rules)
    return made


@pytest.fixture(params=["1", "2"])
def path(request: pytest.FixtureRequest, lab: VaultLab) -> str:
    """The API path of a secret with a token in it."""
    mount, version = f"{lab.name}-kv{request.param}", request.param
    lab.server.write(f"sys/mounts/{mount}", type="kv", options={"version": version})
    path = f"{mount}/kubelets" if version == "1" else f"{mount}/data/kubelets"
    fields = {"token": f"{TOKEN}\n", "number": 7}
    lab.server.write(path, **(fields if version == "1" else {"data": fields}))
    return path


@pytest.fixture
def session(lab: VaultLab) -> VaultSession:
    return lab.session()


def test_a_field_is_read(session: VaultSession, path: str) -> None:
    assert read_field(session, path, "token") == Secret(TOKEN.encode())


@pytest.mark.parametrize("field", ["nothing", "number"])
def test_a_field_that_is_no_text_is_told_with_those_there_are(
    session: VaultSession, path: str, field: str
) -> None:
    with pytest.raises(IssuerRefused, match=f"no text in the field {field}") as caught:
        read_field(session, path, field)
    assert caught.value.hint == "its fields: number, token"
    assert TOKEN not in str(caught.value) + caught.value.hint


def test_a_secret_that_is_not_there_is_told(session: VaultSession, path: str) -> None:
    with pytest.raises(IssuerRefused, match="404") as caught:
        read_field(session, f"{path}-of-others", "token")
    assert "data/ after the mount" in caught.value.hint


def test_a_policy_that_does_not_allow_it_is_told_with_the_one_that_would(
    lab: VaultLab, session: VaultSession, path: str
) -> None:
    lab.allow("nothing")
    with pytest.raises(IssuerRefused) as caught:
        read_field(session, path, "token")
    assert f'path "{path}" {{ capabilities = ["read"] }}' in caught.value.hint
