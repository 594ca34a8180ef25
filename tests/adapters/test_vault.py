"""The `vault` issuer against a real Vault: signing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest

from certrotd.core import x509
from certrotd.core.errors import Rejected
from certrotd.core.model import KeyAlgorithm
from tests.adapters.vaultlab import VaultLab, tokens_of
from tests.factories import CLIENT, make_request

pytestmark = pytest.mark.servers


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
