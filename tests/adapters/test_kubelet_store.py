"""The kubelet's own store: read in its order, written in its format, never without a pair."""

from __future__ import annotations

import base64
import json
import os
import stat
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.kubelet import FileRecords, KubeletStore
from certrotd.core import kubelets, x509
from certrotd.core.errors import PublishRefused
from certrotd.core.kubelets import PAUSES, Cause, Record, Wanted
from certrotd.core.model import SigningRequest
from certrotd.core.model.kubelets import Purpose
from tests.factories import NOW, lab

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.core.model import Secret

BOTH = pytest.mark.parametrize("purpose", Purpose)
WORDS = {Purpose.CLIENT: "client", Purpose.SERVING: "server"}
WEEK = timedelta(days=7)


def pair(purpose: Purpose = Purpose.CLIENT) -> tuple[tuple[bytes, ...], Secret]:
    wanted = Wanted(node="node-1", purpose=purpose)
    attempt = kubelets.begin(wanted, Cause.MISSING, NOW)
    spec = kubelets.specification(wanted, WEEK)
    answer = lab().issuer().sign(SigningRequest(spec=spec, csr_pem=attempt.request))
    return answer.chain, attempt.private_key


def whole(chain: tuple[bytes, ...], key: Secret) -> bytes:
    return b"".join(chain) + key.reveal()


def fingerprint(chain: tuple[bytes, ...]) -> str:
    return x509.parse_certificate(chain[0]).fingerprint


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    return tmp_path / "pki"


@pytest.fixture
def store(tmp_path: Path, pki: Path) -> KubeletStore:
    return KubeletStore(str(pki), str(tmp_path / "kubelet.conf"))


def found(store: KubeletStore, purpose: Purpose = Purpose.CLIENT) -> str | None:
    held = store.read(purpose)
    return held.leaf.fingerprint if held.leaf else None


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


@BOTH
def test_what_is_written_is_in_the_kubelets_format(
    store: KubeletStore, pki: Path, purpose: Purpose
) -> None:
    chain, key = pair(purpose)
    path = store.write(purpose, chain, key, NOW)
    word = WORDS[purpose]
    assert path == str(pki / f"kubelet-{word}-2026-11-24-12-00-00.pem")
    link = pki / f"kubelet-{word}-current.pem"
    assert str(link.readlink()) == path
    status = (pki / f"kubelet-{word}-2026-11-24-12-00-00.pem").stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert link.read_bytes() == whole(chain, key)
    held = store.read(purpose)
    assert held.leaf is not None
    assert held.leaf.fingerprint == fingerprint(chain)
    assert held.key == held.leaf.public_key
    assert held.files == (str(link), str(link))


def test_nothing_there_is_no_problem_but_nothing(store: KubeletStore) -> None:
    held = store.read(Purpose.CLIENT)
    assert (held.leaf, held.problem) == (None, "")


def test_the_order_of_the_kubelet(store: KubeletStore, pki: Path, tmp_path: Path) -> None:
    """Each comes before the one that is put there first."""
    legacy, named, updated, current = (pair() for _ in range(4))
    put(pki / "kubelet-client.crt", b"".join(legacy[0]))
    put(pki / "kubelet-client.key", legacy[1].reveal())
    assert found(store) == fingerprint(legacy[0])
    put(tmp_path / "own.pem", whole(*named))
    put(
        tmp_path / "kubelet.conf",
        kubelets.kubeconfig("node-1", "own.pem", "https://api", "/ca.crt"),
    )
    assert found(store) == fingerprint(named[0]), "relative to the kubeconfig"
    put(pki / "half.pem", whole(*updated))
    (pki / "kubelet-client-updated.pem").symlink_to(pki / "half.pem")
    assert found(store) == fingerprint(updated[0]), "what the kubelet would end when it starts"
    store.write(Purpose.CLIENT, *current, NOW)
    assert found(store) == fingerprint(current[0])


def test_a_pair_inside_a_kubeconfig_is_found(store: KubeletStore, tmp_path: Path) -> None:
    chain, key = pair()
    user = {
        "client-certificate-data": base64.b64encode(b"".join(chain)).decode(),
        "client-key-data": base64.b64encode(key.reveal()).decode(),
    }
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"user": "u", "cluster": "k"}}],
        "users": [{"name": "u", "user": user}],
        "clusters": [],
    }
    put(tmp_path / "kubelet.conf", json.dumps(document).encode())
    held = store.read(Purpose.CLIENT)
    assert held.files is None
    assert found(store) == fingerprint(chain)
    assert store.kubeconfig_problem(NOW) == ""
    assert "its certificate ended" in store.kubeconfig_problem(NOW + 2 * WEEK)
    assert found(store, Purpose.SERVING) is None


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\xff" * 100, b"x" * (2 << 20)])
def test_what_is_damaged_is_told(store: KubeletStore, pki: Path, damage: bytes) -> None:
    store.write(Purpose.CLIENT, *pair(), NOW)
    (pki / "kubelet-client-2026-11-24-12-00-00.pem").write_bytes(damage)
    held = store.read(Purpose.CLIENT)
    assert held.leaf is None
    assert held.problem


def test_a_certificate_without_its_key_is_told(store: KubeletStore, pki: Path) -> None:
    chain, _ = pair()
    put(pki / "kubelet-client-current.pem", b"".join(chain))
    assert "private key" in store.read(Purpose.CLIENT).problem


def test_a_link_that_leads_nowhere_is_as_good_as_none(store: KubeletStore, pki: Path) -> None:
    store.write(Purpose.CLIENT, *pair(), NOW)
    (pki / "kubelet-client-2026-11-24-12-00-00.pem").unlink()
    assert store.read(Purpose.CLIENT) == replace(store.read(Purpose.CLIENT), leaf=None, problem="")
    chain, key = pair()
    store.write(Purpose.CLIENT, chain, key, NOW)
    assert found(store) == fingerprint(chain)


@pytest.mark.parametrize("name", ["kubelet-client-current.pem", "kubelet-client-updated.pem"])
def test_a_file_where_the_kubelet_expects_a_link_is_refused_as_by_the_kubelet(
    store: KubeletStore, pki: Path, name: str
) -> None:
    put(pki / name, whole(*pair()))
    before = sorted(pki.iterdir())
    with pytest.raises(PublishRefused, match="is not a link") as caught:
        store.write(Purpose.CLIENT, *pair(), NOW)
    assert f"mv {pki / name}" in caught.value.hint
    assert sorted(pki.iterdir()) == before


def test_half_a_switch_of_the_kubelet_is_cleared_away(store: KubeletStore, pki: Path) -> None:
    put(pki / "half.pem", whole(*pair()))
    (pki / "kubelet-client-updated.pem").symlink_to(pki / "half.pem")
    chain, key = pair()
    store.write(Purpose.CLIENT, chain, key, NOW)
    assert found(store) == fingerprint(chain)
    assert not os.path.lexists(pki / "kubelet-client-updated.pem")
    assert (pki / "half.pem").exists()


def test_a_name_that_is_taken_is_never_written_over(store: KubeletStore, pki: Path) -> None:
    first = store.write(Purpose.CLIENT, *pair(), NOW)
    content = (pki / first).read_bytes()
    second = store.write(Purpose.CLIENT, *pair(), NOW)
    assert second != first
    assert (pki / first).read_bytes() == content


def test_old_pairs_go_but_never_the_one_in_use_or_another_file(
    store: KubeletStore, pki: Path
) -> None:
    put(pki / "kubelet-client-notes.pem", b"mine")
    store.write(Purpose.SERVING, *pair(Purpose.SERVING), NOW)
    for day in range(8):
        store.write(Purpose.CLIENT, *pair(), NOW + timedelta(days=day))
        assert (pki / "kubelet-client-current.pem").exists()
    names = {each.name for each in pki.iterdir()}
    pairs = {each for each in names if kubelets.is_pair(Purpose.CLIENT, each)}
    assert len(pairs) == 4
    assert "kubelet-client-2026-12-01-12-00-00.pem" in pairs
    assert "kubelet-client-notes.pem" in names
    assert "kubelet-server-2026-11-24-12-00-00.pem" in names


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ({}, "names no client certificate"),
        (
            {"client-certificate": "/gone.pem", "client-key": "/gone.pem"},
            "/gone.pem does not exist",
        ),
        ({"client-certificate-data": "eA==", "client-key-data": "eA=="}, "certificate"),
        ({"tokenFile": "/token"}, ""),
        ({"exec": {"command": "aws"}}, ""),
    ],
)
def test_a_kubeconfig_is_of_no_use_only_if_nothing_in_it_logs_in(
    store: KubeletStore, tmp_path: Path, user: dict[str, object], told: str
) -> None:
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"user": "u", "cluster": "k"}}],
        "users": [{"name": "u", "user": user}],
    }
    put(tmp_path / "kubelet.conf", json.dumps(document).encode())
    problem = store.kubeconfig_problem(NOW)
    assert told in problem
    assert bool(problem) == bool(told)


def test_a_kubeconfig_is_replaced_whole_and_the_old_one_is_kept(
    store: KubeletStore, tmp_path: Path
) -> None:
    path = tmp_path / "kubelet.conf"
    assert "does not exist" in store.kubeconfig_problem(NOW)
    store.write_kubeconfig(b"one")
    assert "is not a kubeconfig" in store.kubeconfig_problem(NOW)
    store.write_kubeconfig(b"two")
    assert path.read_bytes() == b"two"
    kept = tmp_path / "kubelet.conf.before-certrotd"
    assert kept.read_bytes() == b"one"
    assert {stat.S_IMODE(each.stat().st_mode) for each in (path, kept)} == {0o600}


def test_what_is_remembered_comes_back_and_is_for_nobody_else(tmp_path: Path) -> None:
    records = FileRecords(str(tmp_path / "kubelet"))
    assert records.load(Purpose.CLIENT) == Record()
    attempt = kubelets.begin(Wanted(node="node-1", purpose=Purpose.CLIENT), Cause.EXPIRED, NOW)
    record = Record(requests=(NOW,), attempt=attempt, stored_at=NOW, restarted_at=NOW + WEEK)
    records.save(Purpose.CLIENT, record)
    assert FileRecords(str(tmp_path / "kubelet")).load(Purpose.CLIENT) == record
    assert records.load(Purpose.SERVING) == Record()
    file = tmp_path / "kubelet" / "client.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"attempt": null}', '{"requests": ["soon"]}'])
def test_a_damaged_record_counts_as_many_requests(tmp_path: Path, damage: str) -> None:
    records = FileRecords(str(tmp_path))
    (tmp_path / "client.json").write_text(damage)
    record = records.load(Purpose.CLIENT)
    assert record.attempt is None
    assert len(record.requests) == len(PAUSES)
