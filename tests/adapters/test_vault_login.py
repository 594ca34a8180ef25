"""The `vault` issuer against a real Vault: logging in, and again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.vault import (
    TokenFileAuth,
    TokenRoleAuth,
)
from certrotd.core.errors import IssuerRefused
from certrotd.ports import Event
from tests.adapters.vaultlab import VaultLab, refused, tokens_of
from tests.testbed.inventory import Domain
from tests.testbed.jwt import TokenSigner

if TYPE_CHECKING:
    from collections.abc import Callable

    from certrotd.adapters.vault.settings import Auth
    from tests.testbed.controlplane import ControlPlane

pytestmark = pytest.mark.servers


def credential(lab: VaultLab, monkeypatch: pytest.MonkeyPatch) -> Auth:
    lab.file("certrotd-secret-id", lab.credentials.secret_id)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(lab.directory))
    return lab.approle(secret_id_file=None, secret_id_credential="certrotd-secret-id")


def wrapped(lab: VaultLab, _: pytest.MonkeyPatch) -> Auth:
    file = lab.file("wrapped", lab.server.wrapped_secret_id(lab.role))
    return lab.approle(secret_id_file=None, wrapped_secret_id_file=file)


def role_id_file(lab: VaultLab, _: pytest.MonkeyPatch) -> Auth:
    file = lab.file("role-id", lab.credentials.role_id)
    return lab.approle(role_id=None, role_id_file=file)


def token_file(lab: VaultLab, _: pytest.MonkeyPatch) -> Auth:
    return TokenFileAuth(path=lab.file("token", lab.server.create_token([lab.name])))


def jwt(lab: VaultLab, _: pytest.MonkeyPatch) -> Auth:
    signer, mount = TokenSigner(), f"{lab.name}-jwt"
    lab.server.enable_jwt_auth("certrotd", signer.public_key_pem, [lab.name], mount=mount)
    file = lab.file("jwt", signer.sign("node-1"))
    return TokenRoleAuth(method="jwt", mount=mount, role="certrotd", token_file=file)


def certificate(lab: VaultLab, _: pytest.MonkeyPatch) -> Auth:
    return lab.certificate_login()


def certificate_of_any_role(lab: VaultLab, _: pytest.MonkeyPatch) -> Auth:
    return replace(lab.certificate_login(), role=None)


@pytest.mark.parametrize(
    "method",
    [
        role_id_file,
        credential,
        wrapped,
        token_file,
        jwt,
        certificate,
        certificate_of_any_role,
    ],
)
def test_every_way_to_log_in_leads_to_a_certificate(
    own_lab: VaultLab,
    method: Callable[[VaultLab, pytest.MonkeyPatch], Auth],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own_lab.issue(own_lab.issuer(own_lab.session(method(own_lab, monkeypatch))))


def test_a_revoked_token_leads_to_a_new_login(own_lab: VaultLab) -> None:
    issuer = own_lab.issuer()
    own_lab.issue(issuer)
    (accessor,) = tokens_of(own_lab)
    own_lab.server.write("auth/token/revoke-accessor", accessor=accessor)
    own_lab.issue(issuer)
    assert tokens_of(own_lab).isdisjoint({accessor})
    assert Event.ISSUER_RETRIED not in own_lab.log.events


def test_a_token_that_may_be_used_once_is_replaced_each_time(own_lab: VaultLab) -> None:
    own_lab.server.write(
        f"auth/approle/role/{own_lab.role}", token_policies=[own_lab.name], token_num_uses=1
    )
    issuer = own_lab.issuer()
    for _ in range(3):
        own_lab.issue(issuer)


def test_eight_threads_whose_token_was_revoked_go_on(own_lab: VaultLab) -> None:
    issuer = own_lab.issuer()
    own_lab.issue(issuer)
    (accessor,) = tokens_of(own_lab)
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(own_lab.issue, issuer) for _ in range(40)]
        own_lab.server.write("auth/token/revoke-accessor", accessor=accessor)
        running += [pool.submit(own_lab.issue, issuer) for _ in range(40)]
        for each in running:
            each.result()
    assert len(tokens_of(own_lab)) == 1


def test_a_new_secret_id_in_the_file_is_used_at_the_next_login(own_lab: VaultLab) -> None:
    auth = own_lab.approle()
    own_lab.file(f"{own_lab.name}.secret-id", "f2f9b2b1-9f5c-4c7e-8f0e-000000000000")
    session = own_lab.session(auth)
    with pytest.raises(IssuerRefused, match="invalid role or secret ID"):
        own_lab.issue(own_lab.issuer(session))
    own_lab.file(f"{own_lab.name}.secret-id", own_lab.server.new_secret_id(own_lab.role))
    own_lab.issue(own_lab.issuer(session))


def test_a_refused_secret_id_is_not_offered_until_the_role_is_locked_out(
    own_lab: VaultLab,
) -> None:
    wrong = own_lab.file("wrong", "f2f9b2b1-9f5c-4c7e-8f0e-000000000000")
    issuer = own_lab.issuer(own_lab.session(own_lab.approle(secret_id_file=wrong)))
    for _ in range(10):
        with pytest.raises(IssuerRefused, match="invalid role or secret ID"):
            own_lab.issue(issuer)
    own_lab.issue(own_lab.issuer())  # Vault would refuse the right one too after five


def test_a_token_file_is_read_again_when_its_token_is_gone(own_lab: VaultLab) -> None:
    first, second = (own_lab.server.create_token([own_lab.name]) for _ in range(2))
    auth = TokenFileAuth(path=own_lab.file("token", first))
    session = own_lab.session(auth)
    own_lab.issue(own_lab.issuer(session))
    own_lab.server.revoke_token(first)
    with pytest.raises(IssuerRefused, match="token is not valid") as caught:
        own_lab.issue(own_lab.issuer(session))
    assert auth.path in caught.value.hint
    own_lab.file("token", second)
    own_lab.issue(own_lab.issuer(session))


def test_somebody_elses_token_is_not_revoked(own_lab: VaultLab) -> None:
    token = own_lab.server.create_token([own_lab.name])
    session = own_lab.session(TokenFileAuth(path=own_lab.file("token", token)))
    own_lab.issue(own_lab.issuer(session))
    session.close()
    own_lab.server.request("GET", "auth/token/lookup-self", token=token)


def test_an_unwrapped_secret_id_serves_later_logins_too(own_lab: VaultLab) -> None:
    file = own_lab.file("wrapped", own_lab.server.wrapped_secret_id(own_lab.role))
    auth = own_lab.approle(secret_id_file=None, wrapped_secret_id_file=file)
    issuer = own_lab.issuer(own_lab.session(auth))
    own_lab.issue(issuer)
    (accessor,) = tokens_of(own_lab)
    own_lab.server.write("auth/token/revoke-accessor", accessor=accessor)
    Path(file).unlink()
    own_lab.issue(issuer)


def test_a_wrapping_token_used_by_somebody_else_is_an_alarm(own_lab: VaultLab) -> None:
    token = own_lab.server.wrapped_secret_id(own_lab.role)
    own_lab.server.request("POST", "sys/wrapping/unwrap", {}, token=token)
    file = own_lab.file("wrapped", token)
    error = refused(own_lab, auth=own_lab.approle(secret_id_file=None, wrapped_secret_id_file=file))
    assert "somebody else has the secret-id" in error.hint
    assert file in str(error)
    assert token not in f"{error} {error.hint}"


def test_a_wrapping_token_for_something_else_is_not_unwrapped(own_lab: VaultLab) -> None:
    answer = own_lab.server.request(
        "POST", "sys/wrapping/wrap", {"secret_id": "x"}, headers={"X-Vault-Wrap-TTL": "5m"}
    )[1]
    token = answer["wrap_info"]["token"]
    file = own_lab.file("wrapped", token)
    error = refused(own_lab, auth=own_lab.approle(secret_id_file=None, wrapped_secret_id_file=file))
    assert "made at sys/wrapping/wrap" in str(error)
    unwrapped = own_lab.server.request("POST", "sys/wrapping/unwrap", {}, token=token)[1]
    assert unwrapped["data"] == {"secret_id": "x"}


def test_neither_the_environment_nor_the_home_directory_has_a_say(
    own_lab: VaultLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".vault-token").write_text("hvs.stray")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    for name, value in {
        "HOME": str(tmp_path),
        "NETRC": str(tmp_path / ".netrc"),
        "VAULT_TOKEN": "hvs.stray",
        "VAULT_ADDR": "https://127.0.0.1:1",
        "VAULT_CACERT": "/nowhere",
        "VAULT_NAMESPACE": "nowhere",
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "REQUESTS_CA_BUNDLE": "/nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    own_lab.issue(own_lab.issuer())


def test_a_service_account_of_a_real_cluster_logs_in(
    own_lab: VaultLab, control_plane: ControlPlane
) -> None:
    kubernetes = control_plane.client()
    accounts = "/api/v1/namespaces/kube-system/serviceaccounts"
    for name in ("certrotd", "stranger"):
        kubernetes.request("POST", accounts, {"metadata": {"name": name}})
    kubernetes.request(
        "POST",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        {
            "metadata": {"name": "certrotd-token-review"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:auth-delegator",
            },
            "subjects": [
                {"kind": "ServiceAccount", "name": "certrotd", "namespace": "kube-system"}
            ],
        },
    )
    token = kubernetes.service_account_token("certrotd", "kube-system")
    mount = f"{own_lab.name}-kubernetes"
    own_lab.server.enable_kubernetes_auth(
        "certrotd",
        api_server=kubernetes.server,
        ca_pem=control_plane.layout.authorities[Domain.KUBERNETES].read_bytes(),
        reviewer_token=token,
        namespace="kube-system",
        service_account="certrotd",
        policies=[own_lab.name],
        mount=mount,
    )
    file = own_lab.file("service-account", token)
    auth = TokenRoleAuth(method="kubernetes", mount=mount, role="certrotd", token_file=file)
    session = own_lab.session(auth)
    own_lab.issue(own_lab.issuer(session))
    session.close()
    own_lab.file("service-account", kubernetes.service_account_token("stranger", "kube-system"))
    with pytest.raises(IssuerRefused, match="not authorized") as caught:
        own_lab.issue(own_lab.issuer(session))
    assert file in caught.value.hint
