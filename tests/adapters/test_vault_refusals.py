"""The `vault` issuer against a real Vault: being refused, and outages."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from certrotd.adapters.vault import (
    TokenRoleAuth,
)
from certrotd.core.errors import Interrupted, IssuerRefused, IssuerUnavailable, Rejected
from certrotd.ports import Event
from tests.adapters.vaultlab import VaultLab, insist_on_no_secret, refused, seconds
from tests.testbed.jwt import TokenSigner
from tests.testbed.throwaway import ThrowawayCA

pytestmark = pytest.mark.servers


def test_an_unknown_role_is_named(lab: VaultLab) -> None:
    with pytest.raises(IssuerRefused, match="unknown role: unknown") as caught:
        lab.issue(lab.issuer(), lab.spec(role="unknown"))
    assert caught.value.status == 400
    assert f"vault read {lab.mount}/roles/unknown" in caught.value.hint


def test_a_name_that_the_role_forbids_is_named(own_lab: VaultLab) -> None:
    own_lab.define_role(allow_any_name=False, allowed_domains=["good.example"])
    error = refused(own_lab)
    assert error.status == 400
    assert "not allowed by this role" in str(error)


def test_a_missing_policy_is_spelled_out(lab: VaultLab) -> None:
    with pytest.raises(IssuerRefused, match="permission denied") as caught:
        lab.issue(lab.issuer(), lab.spec(role="other"))
    assert f'path "{lab.mount}/sign/other" {{ capabilities = ["update"] }}' in caught.value.hint
    insist_on_no_secret(lab, caught.value)


def test_what_the_hint_says_opens_the_way(own_lab: VaultLab) -> None:
    own_lab.allow("other/place")
    issuer = own_lab.issuer()
    with pytest.raises(IssuerRefused) as caught:
        own_lab.issue(issuer)
    own_lab.server.write_policy(own_lab.name, caught.value.hint.partition("needs: ")[2])
    own_lab.issue(issuer)


def test_without_policy_for_looking_itself_up_a_refusal_stays_one(own_lab: VaultLab) -> None:
    own_lab.server.write(
        f"auth/approle/role/{own_lab.role}",
        token_policies=[own_lab.name],
        token_no_default_policy=True,
    )
    issuer = own_lab.issuer()
    own_lab.issue(issuer)
    own_lab.allow("other/place")
    with pytest.raises(IssuerRefused, match="permission denied"):
        own_lab.issue(issuer)


def test_a_missing_mount_is_named(own_lab: VaultLab) -> None:
    own_lab.allow("nowhere/*")
    with pytest.raises(IssuerRefused, match="no handler for route") as caught:
        own_lab.issue(own_lab.issuer(mount="nowhere"))
    assert "mounted at nowhere" in caught.value.hint


def test_a_mount_of_another_kind_is_refused(own_lab: VaultLab) -> None:
    own_lab.server.write(f"sys/mounts/{own_lab.name}-kv", type="kv")
    own_lab.server.write_policy(
        own_lab.name, f'path "{own_lab.name}-kv/*" {{ capabilities = ["create", "update"] }}'
    )
    with pytest.raises(IssuerRefused, match="204") as caught:
        own_lab.issue(own_lab.issuer(mount=f"{own_lab.name}-kv"))
    assert f"mounted at {own_lab.name}-kv" in caught.value.hint


def test_an_unknown_issuer_is_named(own_lab: VaultLab) -> None:
    own_lab.allow(f"{own_lab.mount}/*")
    issuer = own_lab.issuer(own_lab.session(deadline=seconds(0.2)), issuer_ref="nobody")
    with pytest.raises(IssuerUnavailable, match="nobody") as caught:
        own_lab.issue(issuer)
    assert f"vault list {own_lab.mount}/issuers" in caught.value.hint


def test_a_missing_auth_method_is_named(lab: VaultLab) -> None:
    assert "mounted at auth/nowhere" in refused(lab, auth=lab.approle(mount="nowhere")).hint


def test_an_expired_jwt_is_refused_without_being_shown(own_lab: VaultLab) -> None:
    signer, mount = TokenSigner(), f"{own_lab.name}-jwt"
    own_lab.server.enable_jwt_auth("certrotd", signer.public_key_pem, [own_lab.name], mount=mount)
    token = signer.sign("node-1", life=-600)
    file = own_lab.file("jwt", token)
    auth = TokenRoleAuth(method="jwt", mount=mount, role="certrotd", token_file=file)
    error = refused(own_lab, auth=auth)
    assert file in error.hint
    assert token not in f"{error} {error.hint}"


def test_a_login_certificate_of_another_ca_is_refused(own_lab: VaultLab) -> None:
    auth = own_lab.certificate_login()
    stranger = ThrowawayCA.new("strangers").issue("node-1", client=True, server=False)
    stranger.write(Path(auth.certificate), Path(auth.key))
    assert auth.certificate in refused(own_lab, auth=auth).hint


def test_a_login_certificate_whose_key_differs_is_refused(own_lab: VaultLab) -> None:
    auth = own_lab.certificate_login()
    Path(auth.key).write_bytes(ThrowawayCA.new("x").issue("y").key)
    assert "key values mismatch" in str(refused(own_lab, auth=auth))


def test_namespaces_are_refused_where_there_are_none(lab: VaultLab) -> None:
    error = refused(lab, namespace="team")
    assert "has no namespaces" in str(error)
    assert "Community Edition" in str(error)


# TLS


def test_another_ca_than_the_servers_is_refused_before_anything_is_sent(lab: VaultLab) -> None:
    error = refused(lab, ca_file=str(lab.anchors))
    assert "not trusted" in str(error)
    assert "ca_file" in error.hint


def test_the_systems_trust_does_not_know_a_private_ca(lab: VaultLab) -> None:
    assert "not trusted" in str(refused(lab, ca_file=None))


@pytest.mark.parametrize("content", [None, "rubbish"])
def test_a_ca_file_that_is_none_is_named_or_said_to_be_no_pem(
    lab: VaultLab, content: str | None
) -> None:
    path = lab.file("rubbish.pem", content) if content else "/nowhere/ca.pem"
    error = refused(lab, ca_file=path)
    assert path in str(error) or "PEM" in error.hint


# Outages


def test_a_sealed_server_is_unavailable_and_says_what_to_do(own_server: VaultLab) -> None:
    issuer = own_server.issuer(own_server.session(deadline=seconds(1)))
    own_server.issue(issuer)
    own_server.server.seal()
    for call in (issuer.time, lambda: own_server.issue(issuer)):
        with pytest.raises(IssuerUnavailable, match="sealed") as caught:
            call()
        assert "vault operator unseal" in caught.value.hint
        insist_on_no_secret(own_server, caught.value)
    assert Event.ISSUER_RETRIED in own_server.log.events
    own_server.server.unseal()
    own_server.issue(issuer)


def test_a_stopped_server_is_unavailable(own_server: VaultLab) -> None:
    issuer = own_server.issuer(own_server.session(deadline=seconds(0.6)))
    own_server.issue(issuer)
    own_server.server.stop()
    for call in (issuer.time, lambda: own_server.issue(issuer)):
        with pytest.raises(IssuerUnavailable, match=r"Connection refused \(tried"):
            call()


class Waiting(threading.Event):
    """A stop event that tells when somebody begins to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.set()
        return super().wait(timeout)


def test_a_server_that_comes_back_during_the_retries_signs(own_server: VaultLab) -> None:
    own_server.stop = waiting = Waiting()
    issuer = own_server.issuer(own_server.session(deadline=seconds(60)))
    own_server.issue(issuer)
    own_server.server.stop()
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(own_server.issue, issuer) for _ in range(4)]
        assert waiting.waited.wait(30)
        own_server.server.start()  # the token outlives the restart; storage is a file
        for each in running:
            each.result()
    assert own_server.log.of(Event.ISSUER_RETRIED)[0]["server"] == own_server.server.address


def test_a_stop_ends_the_retries(own_server: VaultLab) -> None:
    own_server.stop = waiting = Waiting()
    issuer = own_server.issuer(own_server.session(deadline=seconds(600)))
    own_server.server.stop()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(own_server.issue, issuer)
        assert waiting.waited.wait(30)
        waiting.set()
        with pytest.raises(Interrupted, match="asked to stop"):
            running.result(30)
    with pytest.raises(Interrupted):
        issuer.time()


def test_closing_while_the_server_is_away_is_no_error(own_server: VaultLab) -> None:
    session = own_server.session()
    own_server.issue(own_server.issuer(session))
    own_server.server.stop()
    session.close()


def test_a_new_mount_with_another_root_is_rejected_by_the_pinned_anchors(own_lab: VaultLab) -> None:
    stranger = own_lab.server.enable_pki(f"{own_lab.name}-stranger", "stranger")
    own_lab.anchors.write_bytes(stranger)
    with pytest.raises(Rejected, match="no pinned trust anchor"):
        own_lab.issue(own_lab.issuer())


def test_a_rate_limit_is_waited_out(own_server: VaultLab) -> None:
    own_server.server.write("sys/quotas/config", enable_rate_limit_response_headers=True)
    limit = {"rate": 2, "interval": "1s", "path": f"{own_server.mount}/"}
    own_server.server.request("POST", "sys/quotas/rate-limit/lab", limit)
    issuer = own_server.issuer()
    for _ in range(4):
        own_server.issue(issuer)
    assert all("429" in each["error"] for each in own_server.log.of(Event.ISSUER_RETRIED))
    assert Event.ISSUER_RETRIED in own_server.log.events
