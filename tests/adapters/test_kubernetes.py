"""Connections to a real kube-apiserver: ways to log in, what can go wrong, a stream that breaks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.kubernetes import (
    ApiConnection,
    ApiServer,
    ApiSigningRequests,
    connection,
)
from certrotd.core.errors import ApiRefused, ApiUnavailable
from certrotd.core.model.kubelets import Purpose
from tests.kubelets.lab import KubeletLab
from tests.testbed.inventory import SCHEDULER
from tests.testbed.processes import free_port
from tests.unit.requests_of_kubelets import pem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.servers
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeletLab]:
    lab = KubeletLab(tmp_path_factory.mktemp("kubernetes"))
    try:
        lab.plane.start("etcd", "kube-apiserver")
        yield lab
    finally:
        lab.plane.stop()


def user(server: ApiServer) -> str:
    """Who the API server takes us for."""
    return str(ApiConnection(server).call("POST", WHO, body={})["status"]["userInfo"]["username"])


def test_a_client_pair_in_files(lab: KubeletLab) -> None:
    assert user(lab.server("somebody")) == "somebody"


def test_a_kubeconfig_that_embeds_its_identity(lab: KubeletLab) -> None:
    kubeconfig = lab.plane.layout.kubeconfig("scheduler")
    assert user(ApiServer(kubeconfig=str(kubeconfig))) == f"system:{SCHEDULER}"


def test_a_token_is_read_again_for_each_call(lab: KubeletLab, tmp_path: Path) -> None:
    account = {"metadata": {"name": "approver"}}
    lab.admin.call("POST", "/api/v1/namespaces/default/serviceaccounts", body=account)
    token = tmp_path / "token"
    token.write_text("not yet\n")
    connection = ApiConnection(
        ApiServer(server=lab.url, ca_file=str(lab.ca_file), token_file=str(token))
    )
    with pytest.raises(ApiRefused) as caught:
        connection.call("POST", WHO, body={})
    assert caught.value.status == 401
    token.write_text(lab.plane.client().service_account_token("approver"))
    who = connection.call("POST", WHO, body={})["status"]["userInfo"]["username"]
    assert who == "system:serviceaccount:default:approver"


def test_a_replaced_identity_is_taken_up(lab: KubeletLab) -> None:
    stranger = lab.server("before")
    connection = ApiConnection(stranger)
    connection.call("POST", WHO, body={})
    other = lab.server("after")
    for old, new in ((stranger.certificate, other.certificate), (stranger.key, other.key)):
        assert old
        assert new
        shutil.copyfile(new, old)
    connection.close()
    assert connection.call("POST", WHO, body={})["status"]["userInfo"]["username"] == "after"


@pytest.mark.parametrize("broken", ["kubeconfig", "certificate", "ca_file", "token_file"])
def test_what_cannot_be_used_is_named(lab: KubeletLab, broken: str) -> None:
    server = ApiServer(kubeconfig="/nowhere/kubeconfig")
    if broken == "certificate":
        server = replace(lab.server("somebody"), certificate="/nowhere/node.crt")
    elif broken == "ca_file":
        server = replace(lab.server("somebody"), ca_file="/nowhere/ca.crt")
    elif broken == "token_file":
        server = replace(lab.server("somebody"), token_file="/nowhere/token")
    with pytest.raises(ApiRefused, match=r"cannot use"):
        ApiConnection(server).call("GET", "/version")


def test_no_identity_at_all_is_an_error_with_advice() -> None:
    with pytest.raises(ApiRefused) as caught:
        ApiConnection(ApiServer()).call("GET", "/version")
    assert "kubeconfig" in caught.value.hint


def test_nobody_there_can_change(lab: KubeletLab) -> None:
    away = replace(lab.server("somebody"), server=f"https://127.0.0.1:{free_port()}")
    with pytest.raises(ApiUnavailable) as caught:
        ApiConnection(away).call("GET", "/version")
    assert caught.value.status is None


def test_a_connection_that_another_thread_closes_while_it_is_opened_is_used_all_the_same(
    lab: KubeletLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, bound = ApiConnection(lab.server("somebody")), connection._bound

    def closed_meanwhile(client: object, limit: connection._Limit) -> None:
        opened.close()
        bound(client, limit)
        opened.close()

    monkeypatch.setattr(connection, "_bound", closed_meanwhile)
    assert opened.call("POST", WHO, body={})["status"]["userInfo"]["username"] == "somebody"


def test_a_server_of_another_ca_is_not_talked_to(lab: KubeletLab) -> None:
    impostor = replace(lab.server("x"), ca_file=str(lab.plane.layout.pki / "etcd" / "ca.crt"))
    with pytest.raises(ApiUnavailable, match="certificate verify failed"):
        ApiConnection(impostor).call("GET", "/version")


def test_what_a_role_would_allow_is_said(lab: KubeletLab) -> None:
    with pytest.raises(ApiRefused) as caught:
        list(ApiSigningRequests(lab.connection("nobody")).everything())
    assert caught.value.status == 403
    assert "config/kubernetes" in caught.value.hint


def test_a_stream_that_was_away_too_long_lists_again(lab: KubeletLab) -> None:
    lab.node("node-1").submit("early", Purpose.CLIENT, pem(), None)
    lab.plane.restart("kube-apiserver")  # which begins to remember anew
    requests = ApiSigningRequests(lab.admin)
    requests._version = "1"
    assert list(requests.stream(1)) == []
    assert "early" in [each.name for each in requests.stream(1)]


def test_more_requests_than_a_page_all_come_once(lab: KubeletLab) -> None:
    node = lab.node("node-1")
    names = {f"many-{i}" for i in range(120)}
    for each in names:
        node.submit(each, Purpose.CLIENT, pem(), None)
    requests = ApiSigningRequests(lab.admin)
    streamed = [each.name for each in requests.stream(1) if each.name in names]
    assert sorted(streamed) == sorted(names)
    assert list(requests.stream(1)) == []


def test_a_server_that_restarts_interrupts_a_stream_and_no_more(lab: KubeletLab) -> None:
    requests = ApiSigningRequests(lab.admin)
    list(requests.stream(1))
    lab.plane.restart("kube-apiserver")
    lab.node("node-1").submit("after-restart", Purpose.CLIENT, pem(), None)
    seen: list[str] = []
    for _ in range(5):
        try:
            seen += [each.name for each in requests.stream(1)]
        except ApiUnavailable:
            continue
        if "after-restart" in seen:
            return
    raise AssertionError(seen)


def test_the_client_library_is_loaded_at_the_first_call() -> None:
    code = (
        "import sys, certrotd.adapters.kubernetes\n"
        "print([m for m in ('kubernetes', 'urllib3', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
