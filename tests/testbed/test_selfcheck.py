"""The testbed itself: do the real servers come up and do what the other tests rely on?"""

from __future__ import annotations

import http.client
import ipaddress
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from tests.testbed.inventory import COMPONENTS, CONTROLLER_MANAGER
from tests.testbed.jwt import TokenSigner
from tests.testbed.kubeapi import KubeClient, client_context
from tests.testbed.throwaway import ThrowawayCA, signing_request
from tests.testbed.vaultclient import VaultAnswered, VaultClient
from tests.testbed.vaultserver import Storage, VaultServer, openbao

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.testbed.controlplane import ControlPlane

pytestmark = pytest.mark.servers

SIGN_ONLY = 'path "pki/sign/etcd" { capabilities = ["update"] }'


@pytest.fixture(params=["file", "raft", "bao"])
def vault(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VaultServer]:
    if request.param == "bao" and openbao() is None:
        pytest.skip("there is no OpenBao (bao) on PATH")
    binary = "bao" if request.param == "bao" else "vault"
    storage: Storage = "raft" if request.param == "raft" else "file"
    with VaultServer(tmp_path, binary=binary, storage=storage) as server:
        yield server


def sign_with(server: VaultServer, token: str, mount: str = "pki") -> x509.Certificate:
    csr, _ = signing_request("node-0", ["127.0.0.1"])
    answer = VaultClient(server.host, server.port, server.ca.pem, token).write(
        f"{mount}/sign/etcd", csr=csr.decode(), common_name="node-0", ttl="168h"
    )
    return x509.load_pem_x509_certificate(answer["data"]["certificate"].encode())


def test_vault_signs_a_csr_for_an_approle_also_after_a_seal_and_a_restart(
    vault: VaultServer,
) -> None:
    ca = x509.load_pem_x509_certificate(vault.enable_pki("pki", "etcd CA"))
    vault.define_role("pki", "etcd")
    vault.write_policy("etcd", SIGN_ONLY)
    role = vault.enable_approle("etcd", ["etcd"])

    vault.seal()
    assert vault.sealed
    vault.unseal()
    vault.restart(unseal=False)
    assert vault.sealed
    vault.unseal()

    login = vault.write("auth/approle/login", role_id=role.role_id, secret_id=role.secret_id)
    leaf = sign_with(vault, login["auth"]["client_token"])
    leaf.verify_directly_issued_by(ca)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]


def test_an_intermediate_signs_below_its_root(vault_server: VaultServer) -> None:
    root = x509.load_pem_x509_certificate(vault_server.enable_pki("sc-root", "root"))
    pem = vault_server.enable_intermediate("sc-below", "sc-root", "below")
    below = x509.load_pem_x509_certificate(pem)
    below.verify_directly_issued_by(root)
    vault_server.define_role("sc-below", "etcd")
    sign_with(vault_server, vault_server.token, "sc-below").verify_directly_issued_by(below)


def test_a_wrapped_secret_id_can_be_unwrapped_once(vault_server: VaultServer) -> None:
    vault_server.enable_approle("sc-wrapped", [])
    wrapping = vault_server.wrapped_secret_id("sc-wrapped")
    answer = vault_server.request("POST", "sys/wrapping/unwrap", token=wrapping)[1]
    assert answer["data"]["secret_id"]
    with pytest.raises(VaultAnswered):
        vault_server.request("POST", "sys/wrapping/unwrap", token=wrapping)


def test_a_jwt_of_a_local_key_logs_in_until_its_token_is_revoked(
    vault_server: VaultServer,
) -> None:
    signer = TokenSigner()
    vault_server.enable_jwt_auth("sc-node", signer.public_key_pem, [], mount="sc-jwt")
    answer = vault_server.write(
        "auth/sc-jwt/login", role="sc-node", jwt=signer.sign("system:node:node-0")
    )
    token = answer["auth"]["client_token"]
    assert vault_server.request("GET", "auth/token/lookup-self", token=token)[0] == http.client.OK
    vault_server.revoke_token(token)
    with pytest.raises(VaultAnswered) as refused:
        vault_server.request("GET", "auth/token/lookup-self", token=token)
    assert refused.value.status == http.client.FORBIDDEN


def test_a_client_certificate_logs_in(vault_server: VaultServer, tmp_path: Path) -> None:
    ca = ThrowawayCA.new("clients of Vault")
    ca.issue("node-0", server=False, client=True).write(tmp_path / "crt", tmp_path / "key")
    vault_server.enable_certificate_auth("sc-node", ca.pem, [], mount="sc-cert")
    context = client_context(vault_server.ca_file, tmp_path / "crt", tmp_path / "key")
    connection = http.client.HTTPSConnection(
        vault_server.host, vault_server.port, context=context, timeout=30
    )
    try:
        connection.request("POST", "/v1/auth/sc-cert/login", b"{}")
        assert connection.getresponse().status == http.client.OK
    finally:
        connection.close()


def test_the_control_plane_works_and_its_parts_can_be_restarted_by_a_command(
    control_plane: ControlPlane, vault_server: VaultServer
) -> None:
    client = control_plane.client()
    created = client.create_config_map("made-with-a-client-certificate", {"a": "b"})
    assert created["metadata"]["uid"]
    manager = KubeClient(control_plane.layout.kubeconfig("controller-manager"))
    assert manager.status("/api/v1/serviceaccounts") == http.client.OK

    for name in COMPONENTS:
        before = control_plane.pid(name)
        subprocess.run(control_plane.restart_argv(name), check=True, env={}, timeout=60)
        assert control_plane.pid(name) != before
        control_plane.wait_ready(name)
    kept = client.request(
        "GET", "/api/v1/namespaces/default/configmaps/" + created["metadata"]["name"]
    )
    assert kept["data"] == {"a": "b"}

    control_plane.stop(CONTROLLER_MANAGER)
    assert not control_plane.pidfile(CONTROLLER_MANAGER).exists()
    log_in_with_a_service_account(control_plane, vault_server)


def log_in_with_a_service_account(plane: ControlPlane, vault: VaultServer) -> None:
    client = plane.client()
    account = {"metadata": {"name": "certrotd"}}
    client.request("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    binding = {
        "metadata": {"name": "vault-reviews-tokens"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "system:auth-delegator",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "certrotd", "namespace": "default"}],
    }
    client.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    token = client.service_account_token("certrotd")
    vault.enable_kubernetes_auth(
        "sc-node",
        api_server=plane.ports.api,
        ca_pem=(plane.layout.pki / "ca.crt").read_bytes(),
        reviewer_token=token,
        namespace="default",
        service_account="certrotd",
        policies=[],
        mount="sc-kubernetes",
    )
    answer = vault.write("auth/sc-kubernetes/login", role="sc-node", jwt=token)
    assert answer["auth"]["client_token"]
