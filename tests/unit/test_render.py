from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from certrotd.core import x509
from certrotd.core.model import (
    KeyAlgorithm,
    Kubeconfig,
    Output,
    OutputKind,
    Secret,
    StoredFile,
    Verified,
)
from certrotd.core.render import identity, render
from tests.factories import Lab, make_client_spec, make_outputs, make_spec

if TYPE_CHECKING:
    from collections.abc import Callable

PLACE = Path("/etc/kubernetes")
SERVER = "https://127.0.0.1:6443"


def output(kind: OutputKind, name: str = "", **settings_: Any) -> Output:
    kubeconfig = Kubeconfig(server=SERVER, **settings_) if kind is OutputKind.KUBECONFIG else None
    path = str(PLACE / (name or kind.value))
    return Output(path=path, kind=kind, mode=0o600, kubeconfig=kubeconfig)


@pytest.fixture(scope="module")
def pair() -> Verified:
    """A client identity with an intermediate above it."""
    return Lab(intermediate=True).issue(make_client_spec(PLACE))


def with_outputs(pair: Verified, *outputs: Output) -> Verified:
    return replace(pair, spec=replace(pair.spec, outputs=outputs))


def rendered(pair: Verified, *outputs: Output) -> list[bytes]:
    contents = render(with_outputs(pair, *outputs))
    assert [each for each, _ in contents] == list(outputs)
    return [content.reveal() for _, content in contents]


def stored(pair: Verified, *outputs: Output) -> tuple[StoredFile, ...]:
    """What lies on disk after these outputs were published."""
    contents = render(with_outputs(pair, *outputs))
    return tuple(StoredFile(output=each, content=content) for each, content in contents)


def lying(kind: OutputKind, content: bytes, **settings_: Any) -> StoredFile:
    return StoredFile(output=output(kind, **settings_), content=Secret(content))


# To files


def test_each_kind_holds_what_it_is_for(pair: Verified) -> None:
    chain, key = b"".join(pair.chain), pair.private_key.reveal()
    kinds = (OutputKind.CERTIFICATE, OutputKind.KEY, OutputKind.COMBINED, OutputKind.CA)
    assert rendered(pair, *map(output, kinds)) == [
        chain,
        key,
        chain + key,
        b"".join(pair.anchors),
    ]
    assert chain.startswith(pair.leaf.pem)
    assert chain.count(b"BEGIN CERTIFICATE") == 2


def test_the_same_pair_gives_the_same_bytes(pair: Verified) -> None:
    outputs = tuple(output(kind) for kind in OutputKind)
    assert rendered(pair, *outputs) == rendered(pair, *outputs)


def test_an_embedded_kubeconfig_needs_no_other_file(pair: Verified) -> None:
    (content,) = rendered(pair, output(OutputKind.KUBECONFIG, cluster="prod", user="system:admin"))
    document = yaml.safe_load(content)
    assert document["apiVersion"] == "v1"
    assert document["kind"] == "Config"
    assert document["current-context"] == "system:admin@prod"
    (context,), (cluster,), (user,) = (document[each] for each in ("contexts", "clusters", "users"))
    assert context == {
        "name": "system:admin@prod",
        "context": {"cluster": "prod", "user": "system:admin"},
    }
    assert (cluster["name"], user["name"]) == ("prod", "system:admin")
    assert cluster["cluster"]["server"] == SERVER
    assert decoded(cluster["cluster"]["certificate-authority-data"]) == b"".join(pair.anchors)
    assert decoded(user["user"]["client-certificate-data"]) == b"".join(pair.chain)
    assert decoded(user["user"]["client-key-data"]) == pair.private_key.reveal()


def decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


@pytest.mark.parametrize(
    ("others", "certificate", "key"),
    [
        ((OutputKind.CERTIFICATE, OutputKind.KEY), "certificate", "key"),
        ((OutputKind.COMBINED,), "combined", "combined"),
        ((OutputKind.COMBINED, OutputKind.CERTIFICATE, OutputKind.KEY), "certificate", "key"),
    ],
)
def test_a_kubeconfig_that_names_files_names_its_siblings_and_holds_no_key(
    pair: Verified, others: tuple[OutputKind, ...], certificate: str, key: str
) -> None:
    kubeconfig = output(OutputKind.KUBECONFIG, embed=False)
    content = rendered(pair, kubeconfig, *map(output, others))[0]
    user = yaml.safe_load(content)["users"][0]["user"]
    assert user == {
        "client-certificate": str(PLACE / certificate),
        "client-key": str(PLACE / key),
    }
    assert not kubeconfig.secret


@pytest.mark.parametrize(
    ("settings_", "others", "expected"),
    [
        ({"ca_file": "/pki/ca.crt"}, (), {"certificate-authority": "/pki/ca.crt"}),
        (
            {"ca_file": "/pki/ca.crt", "embed": False},
            (OutputKind.CA,),
            {"certificate-authority": "/pki/ca.crt"},
        ),
        ({"embed": False}, (OutputKind.CA,), {"certificate-authority": str(PLACE / "ca")}),
        ({"embed": True}, (OutputKind.CA,), None),
        ({"embed": False}, (), None),
    ],
)
def test_the_api_servers_ca_is_named_or_embedded(
    pair: Verified,
    settings_: dict[str, Any],
    others: tuple[OutputKind, ...],
    expected: dict[str, str] | None,
) -> None:
    outputs = [output(OutputKind.COMBINED), *map(output, others)]
    content = rendered(pair, output(OutputKind.KUBECONFIG, **settings_), *outputs)[0]
    cluster = yaml.safe_load(content)["clusters"][0]["cluster"]
    del cluster["server"]
    if expected is None:
        assert decoded(cluster["certificate-authority-data"]) == b"".join(pair.anchors)
    else:
        assert cluster == expected


def test_a_kubeconfig_without_files_to_name_is_a_mistake(pair: Verified) -> None:
    kubeconfig = output(OutputKind.KUBECONFIG, embed=False)
    for others in ((), (output(OutputKind.CERTIFICATE),), (output(OutputKind.KEY),)):
        with pytest.raises(ValueError, match="names files has none to name"):
            rendered(pair, kubeconfig, *others)
    bare = replace(kubeconfig, kubeconfig=None)
    with pytest.raises(ValueError, match="without its settings"):
        rendered(pair, bare)


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()))
@settings(max_examples=60)
def test_names_survive_whatever_they_are(name: str) -> None:
    pair = Lab().issue(make_client_spec(PLACE))
    (content,) = rendered(pair, output(OutputKind.KUBECONFIG, cluster=name, user=name))
    document = yaml.safe_load(content)
    assert document["clusters"][0]["name"] == name
    assert document["users"][0]["name"] == name
    assert document["current-context"] == f"{name}@{name}"


def test_contents_are_secrets() -> None:
    contents = render(Lab().issue(make_spec(PLACE)))
    assert "BEGIN" not in repr(contents)


# And back


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
@pytest.mark.parametrize(
    "kinds",
    [
        (OutputKind.CERTIFICATE, OutputKind.KEY),
        (OutputKind.KEY, OutputKind.CERTIFICATE, OutputKind.CA),
        (OutputKind.COMBINED,),
        (OutputKind.KUBECONFIG,),
        tuple(OutputKind),
    ],
)
def test_what_was_rendered_is_found_again(
    algorithm: KeyAlgorithm, kinds: tuple[OutputKind, ...]
) -> None:
    made = pairs()[algorithm]
    found = identity(stored(made, *map(output, kinds)))
    assert found.chain == made.chain
    assert found.private_key == made.private_key


def pairs(made: dict[KeyAlgorithm, Verified] = {}) -> dict[KeyAlgorithm, Verified]:  # noqa: B006  # kept
    """One pair of each algorithm: RSA keys take their time."""
    if not made:
        lab = Lab()
        made |= {each: lab.issue(make_spec(PLACE, key=each)) for each in KeyAlgorithm}
    return made


def test_without_a_key_output_there_is_no_key(pair: Verified) -> None:
    assert identity(stored(pair, output(OutputKind.CERTIFICATE))).private_key is None


def test_a_kubeconfig_that_names_files_adds_nothing(pair: Verified) -> None:
    outputs = (output(OutputKind.KUBECONFIG, embed=False), output(OutputKind.COMBINED))
    assert identity(stored(pair, *outputs)).chain == pair.chain


def test_the_bundle_of_anchors_is_never_taken_for_the_certificate(pair: Verified) -> None:
    with pytest.raises(ValueError, match="no output holds a certificate"):
        identity(stored(pair, output(OutputKind.CA)))


def test_unreadable_files_hold_nothing(pair: Verified) -> None:
    files = stored(pair, output(OutputKind.CERTIFICATE), output(OutputKind.KEY))
    gone = replace(files[1], content=None, problem="permission denied")
    assert identity((files[0], gone)).private_key is None


def test_two_files_with_different_pairs_are_told(pair: Verified) -> None:
    other = Lab().issue(make_spec(PLACE))
    for kind, what in (
        (OutputKind.CERTIFICATE, "another certificate"),
        (OutputKind.KEY, "another private key"),
    ):
        (mine,) = stored(pair, output(kind, "mine"))
        (theirs,) = stored(other, output(kind, "theirs"))
        with pytest.raises(ValueError, match=f"theirs: holds {what} than {PLACE}/mine"):
            identity((mine, theirs))


def test_a_key_beside_text_and_with_foreign_line_ends_is_found(pair: Verified) -> None:
    key = pair.private_key.reveal()
    messy = b"# my key\r\n" + key.replace(b"\n", b"\r\n") + b"trailing"
    chain = lying(OutputKind.CERTIFICATE, b"".join(pair.chain))
    assert identity((chain, lying(OutputKind.KEY, messy))).private_key == pair.private_key


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hunter2",
        b"-----BEGIN PRIVATE KEY-----\nhunter2",
        b"-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n",
        b"client-certificate-data: hunter2\nclient-key-data: hunter2\n",
        b"client-certificate-data: '####'\nclient-key-data: a\n",
        b"users: [hunter2",
        b"users: {hunter2: hunter2}\ncontexts: 7\n",
        b"- hunter2",
        b"\x00\xff hunter2",
        b"users: " + b"[" * 3000,
    ],
)
@pytest.mark.parametrize("kind", [kind for kind in OutputKind if kind is not OutputKind.CA])
def test_rubbish_is_told_with_its_path_and_without_its_content(
    kind: OutputKind, content: bytes
) -> None:
    with pytest.raises(ValueError, match=f"{PLACE}/{kind.value}: ") as caught:
        identity((lying(kind, content),))
    shown = f"{caught.value}"
    assert "hunter2" not in shown
    assert len(shown) < 300


def kubeconfig_of(pair: Verified, **changes: Any) -> dict[str, Any]:
    """A kubeconfig as people have it: several users, in any order."""
    mine = {
        "client-certificate-data": base64.b64encode(b"".join(pair.chain)).decode(),
        "client-key-data": base64.b64encode(pair.private_key.reveal()).decode(),
    }
    other = {"client-certificate-data": "AAAA", "client-key-data": "AAAA"}
    document = {
        "users": [{"name": "other", "user": other}, {"name": "me", "user": mine}],
        "contexts": [
            {"name": "there", "context": {"cluster": "c", "user": "other"}},
            {"name": "here", "context": {"cluster": "c", "user": "me"}},
        ],
        "current-context": "here",
    }
    return document | changes


@pytest.mark.parametrize(
    "dump",
    [
        yaml.safe_dump,
        lambda document: yaml.safe_dump(document, default_flow_style=True, width=10**9),
        lambda document: yaml.safe_dump(document, width=60),
    ],
)
def test_the_user_of_the_current_context_counts(
    pair: Verified, dump: Callable[[object], str]
) -> None:
    found = identity((lying(OutputKind.KUBECONFIG, dump(kubeconfig_of(pair)).encode()),))
    assert found.chain == pair.chain
    assert found.private_key == pair.private_key


@pytest.mark.parametrize(
    "changes",
    [
        {"current-context": "nowhere"},
        {"current-context": None},
        {"contexts": []},
        {"users": []},
        {"users": [{"name": "me", "user": {"token": "hunter2"}}]},
        {"users": [{"name": "me", "user": {"client-certificate": "/a", "client-key": "/b"}}]},
        {"users": [{"name": "me", "user": "hunter2"}]},
        {"users": [{"name": "me", "user": None}]},
        {"users": [{"name": "me", "user": {"client-certificate-data": 7, "client-key-data": 7}}]},
    ],
)
def test_a_kubeconfig_without_an_embedded_identity_is_told(
    pair: Verified, changes: dict[str, Any]
) -> None:
    content = yaml.safe_dump(kubeconfig_of(pair, **changes)).encode()
    with pytest.raises(ValueError, match=f"{PLACE}/kubeconfig: ") as caught:
        identity((lying(OutputKind.KUBECONFIG, content),))
    assert "hunter2" not in str(caught.value)


def test_the_users_files_of_make_outputs_are_found_again() -> None:
    made = Lab().issue(make_spec(PLACE, outputs=make_outputs(PLACE)))
    found = identity(stored(made, *made.spec.outputs))
    assert found.private_key
    assert x509.owns(found.private_key, found.chain[0])
