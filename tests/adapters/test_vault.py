"""The `vault` issuer against a real Vault."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from certrotd.adapters.vault import (
    CertificateAuth,
    TokenFileAuth,
    TokenRoleAuth,
)
from certrotd.core import x509
from certrotd.core.errors import Interrupted, IssuerRefused, IssuerUnavailable, Rejected
from certrotd.core.model import KeyAlgorithm
from certrotd.ports import Event
from tests.adapters.vaultlab import VaultLab, seconds
from tests.factories import CLIENT, make_request
from tests.testbed.jwt import TokenSigner
from tests.testbed.throwaway import ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Callable

    from certrotd.adapters.vault.settings import Auth
    from certrotd.core.errors import CertrotdError
    from tests.testbed.vaultserver import VaultServer

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def lab(vault_server: VaultServer, tmp_path_factory: pytest.TempPathFactory) -> VaultLab:
    """Shared: do not change its role or policy."""
    return VaultLab(vault_server, tmp_path_factory.mktemp("vaultlab"))


@pytest.fixture
def own_lab(vault_server: VaultServer, tmp_path: Path) -> VaultLab:
    """A mount, role and policy to change."""
    return VaultLab(vault_server, tmp_path)


@pytest.fixture
def own_server(own_vault_server: VaultServer, tmp_path: Path) -> VaultLab:
    """A server to stop and seal."""
    return VaultLab(own_vault_server, tmp_path)


def refused(lab: VaultLab, **changes: object) -> IssuerRefused:
    """What signing over a new session is refused with."""
    issuer = lab.issuer(lab.session(**changes))  # type: ignore[arg-type]  # fields of VaultConnection
    with pytest.raises(IssuerRefused) as caught:
        lab.issue(issuer)
    insist_on_no_secret(lab, caught.value)
    return caught.value


def insist_on_no_secret(lab: VaultLab, error: CertrotdError) -> None:
    shown = f"{error!r} {error} {error.hint} {error.__cause__!r} {lab.log.lines}"
    assert lab.credentials.secret_id not in shown
    assert "hvs." not in shown


# Signing


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "sign"},
        {"endpoint": "issue"},
        {"issuer_ref": "default"},
        {"endpoint": "sign", "mount": "/{mount}/"},
    ],
)
def test_what_was_asked_for_comes_back(lab: VaultLab, changes: dict[str, Any]) -> None:
    given = {name: each.format(mount=lab.mount) for name, each in changes.items()}
    verified = lab.issue(lab.issuer(**given))
    assert len(verified.chain) == 2
    assert verified.anchors == x509.split_pem(lab.anchors.read_bytes())


@pytest.mark.parametrize("algorithm", [a for a in KeyAlgorithm if a != KeyAlgorithm.RSA_4096])
def test_every_key_can_be_signed(own_lab: VaultLab, algorithm: KeyAlgorithm) -> None:
    own_lab.define_role(key_type="any")
    spec = own_lab.spec(key=algorithm)
    assert own_lab.issue(own_lab.issuer(), spec).leaf.key == algorithm


@pytest.mark.parametrize("endpoint", ["sign", "issue"])
@pytest.mark.parametrize("from_csr", [True, False])
def test_all_names_come_back_whether_the_role_reads_the_csr_or_not(
    own_lab: VaultLab, endpoint: str, *, from_csr: bool
) -> None:
    own_lab.define_role(
        use_csr_common_name=from_csr,
        use_csr_sans=from_csr,
        allowed_uri_sans="*",
        organization=["system:masters"],
    )
    spec = own_lab.spec(
        common_name="kube-apiserver",
        organizations=("system:masters",),
        dns_names=("kubernetes", "kubernetes.default.svc"),
        ip_addresses=(ip_address("10.96.0.1"), ip_address("::1")),
        uris=("spiffe://cluster/ns/a,b", "spiffe://cluster/ns/c"),
    )
    own_lab.issue(own_lab.issuer(endpoint=endpoint), spec)


def test_a_client_identity_gets_no_san_from_its_common_name(own_lab: VaultLab) -> None:
    own_lab.define_role(server_flag=False, client_flag=True, organization=["system:masters"])
    spec = own_lab.spec(
        common_name="client.example",
        organizations=("system:masters",),
        dns_names=(),
        ip_addresses=(),
        usages=CLIENT,
    )
    for endpoint in ("sign", "issue"):
        leaf = own_lab.issue(own_lab.issuer(endpoint=endpoint), spec).leaf
        assert (leaf.dns_names, leaf.ip_addresses) == ((), ())


def test_the_private_key_stays_here_with_sign_and_comes_with_issue(lab: VaultLab) -> None:
    _, request = make_request(lab.spec())
    assert lab.issuer().sign(request).private_key is None
    made = lab.issuer(endpoint="issue").sign(request).private_key
    assert made
    assert made.reveal().startswith(b"-----BEGIN PRIVATE KEY-----")


def test_a_shortened_life_is_warned_of_and_then_rejected(own_lab: VaultLab) -> None:
    own_lab.define_role(max_ttl="1h", ttl="1h")
    _, request = make_request(own_lab.spec())
    issuer = own_lab.issuer()
    assert any("TTL" in each for each in issuer.sign(request).warnings)
    with pytest.raises(Rejected, match="time to live"):
        own_lab.issue(issuer)


def test_an_ordinary_signature_comes_without_warnings(lab: VaultLab) -> None:
    _, request = make_request(lab.spec())
    assert lab.issuer().sign(request).warnings == ()


def test_a_role_that_makes_leases_is_warned_of_and_the_token_kept(own_lab: VaultLab) -> None:
    own_lab.define_role(generate_lease=True, no_store=False)
    session = own_lab.session()
    _, request = make_request(own_lab.spec())
    answer = own_lab.issuer(session).sign(request)
    assert any("generate_lease=false" in each for each in answer.warnings)
    accessors = tokens_of(own_lab)
    session.close()
    assert tokens_of(own_lab) == accessors


def tokens_of(lab: VaultLab) -> set[str]:
    """Accessors of all tokens that AppRole gave to this lab's role."""
    found = set()
    for accessor in lab.server.list("auth/token/accessors"):
        status, answer = lab.server.request(
            "POST", "auth/token/lookup-accessor", {"accessor": accessor}, accept=(200, 403, 404)
        )
        if status == 200 and lab.name in answer["data"]["policies"]:
            found.add(accessor)
    return found


def test_closing_gives_the_token_back(own_lab: VaultLab) -> None:
    session = own_lab.session()
    own_lab.issue(own_lab.issuer(session))
    assert len(tokens_of(own_lab)) == 1
    session.close()
    assert tokens_of(own_lab) == set()


def test_eight_threads_get_certificates_for_their_own_keys_and_log_in_once(
    own_lab: VaultLab,
) -> None:
    session = own_lab.session()
    issuers = (own_lab.issuer(session), own_lab.issuer(session, issuer_ref="default"))
    specs = [own_lab.spec(f"server-{number}") for number in range(120)]
    with ThreadPoolExecutor(8) as pool:
        pairs = list(pool.map(lambda n: own_lab.issue(issuers[n % 2], specs[n]), range(120)))
    assert [each.leaf.common_name for each in pairs] == [each.common_name for each in specs]
    assert len(tokens_of(own_lab)) == 1


def test_the_servers_clock_can_be_asked(lab: VaultLab) -> None:
    time = lab.issuer().time()
    assert time
    assert abs(time - lab.clock.now()) < timedelta(seconds=5)


# Logging in


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
    ca, mount = ThrowawayCA.new("nodes"), f"{lab.name}-cert"
    lab.server.enable_certificate_auth("certrotd", ca.pem, [lab.name], mount=mount)
    crt, key = lab.directory / "node.crt", lab.directory / "node.key"
    ca.issue("node-1", client=True, server=False).write(crt, key)
    return CertificateAuth(mount=mount, role="certrotd", certificate=str(crt), key=str(key))


def certificate_of_any_role(lab: VaultLab, monkeypatch: pytest.MonkeyPatch) -> Auth:
    auth = certificate(lab, monkeypatch)
    assert isinstance(auth, CertificateAuth)
    return replace(auth, role=None)


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


# Being refused


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


def test_a_login_certificate_of_another_ca_is_refused(
    own_lab: VaultLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = certificate(own_lab, monkeypatch)
    assert isinstance(auth, CertificateAuth)
    stranger = ThrowawayCA.new("strangers").issue("node-1", client=True, server=False)
    stranger.write(Path(auth.certificate), Path(auth.key))
    assert auth.certificate in refused(own_lab, auth=auth).hint


def test_a_login_certificate_whose_key_differs_is_refused(
    own_lab: VaultLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = certificate(own_lab, monkeypatch)
    assert isinstance(auth, CertificateAuth)
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
