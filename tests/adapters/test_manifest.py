"""Manifests of static pods: what is refused, and the one change that is made."""

from __future__ import annotations

import json
import os
import stat
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from certrotd.adapters.cri import manifest
from certrotd.adapters.cri.manifest import ANNOTATION, Absent, Unfit

VALUE = "2026-11-24T12:00:00.000000Z"
POD = """\
# written by kubeadm
apiVersion: v1
kind: Pod
metadata:
  creationTimestamp: null
  labels: {component: etcd, tier: "control-plane"}
  name: etcd   # the node's name is put behind it
  namespace: kube-system
spec:
  containers:
  - name: etcd
    command: [etcd, --name=one]
"""
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)
DOCUMENT = st.builds(
    lambda labels, annotations, extra: {
        "kind": "Pod",
        "metadata": {"name": "etcd"} | labels | annotations,
        "spec": {"containers": [{"name": "etcd", "args": extra}]},
    },
    st.one_of(st.just({}), st.builds(lambda d: {"labels": d}, st.dictionaries(TEXT, TEXT))),
    st.one_of(
        st.just({}),
        st.just({"annotations": None}),
        st.builds(lambda d: {"annotations": d}, st.dictionaries(TEXT, TEXT, max_size=3)),
        st.builds(
            lambda d, v: {"annotations": d | {ANNOTATION: v}},
            st.dictionaries(TEXT, TEXT, max_size=3),
            TEXT,
        ),
    ),
    st.lists(st.one_of(TEXT, st.integers(), st.booleans()), max_size=3),
)


def as_json(document: Any) -> str:
    return json.dumps(document, indent=2)


def as_tight_json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False)


def as_block(document: Any) -> str:
    return str(yaml.safe_dump(document, default_flow_style=False, allow_unicode=True))


def as_mixed(document: Any) -> str:
    return "---\n# a comment\n" + str(yaml.safe_dump(document, default_flow_style=None, indent=4))


def as_windows(document: Any) -> str:
    return str(yaml.safe_dump(document, default_flow_style=False, sort_keys=False)).replace(
        "\n", "\r\n"
    )


def written(path: Path, text: str) -> manifest.Manifest:
    path.write_bytes(text.encode())
    return manifest.read(str(path))


def common(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def changed(path: Path, text: str) -> str:
    return manifest.annotated(written(path, text), VALUE)


@given(
    document=DOCUMENT,
    style=st.sampled_from((as_json, as_tight_json, as_block, as_mixed, as_windows)),
)
def test_only_the_annotation_changes_in_whatever_style(
    tmp_path_factory: pytest.TempPathFactory, document: Any, style: Any
) -> None:
    text = style(document)
    result = changed(tmp_path_factory.getbasetemp() / "pod.yaml", text)
    wanted = yaml.safe_load(text)
    before = dict(wanted["metadata"].get("annotations") or {})
    wanted["metadata"]["annotations"] = before | {ANNOTATION: VALUE}
    assert yaml.safe_load(result) == wanted
    # All that was there is there byte for byte, but the old value, or the word for nothing.
    head = common(text, result)
    tail = common(text[head:][::-1], result[head:][::-1])
    replaced = text[head : len(text) - tail]
    if ANNOTATION in before:
        assert len(replaced) <= len(json.dumps(before[ANNOTATION])) + 8
    else:
        assert replaced in ("", "null")


def test_a_manifest_of_kubeadm_gets_one_line_more(tmp_path: Path) -> None:
    result = changed(tmp_path / "etcd.yaml", POD)
    line = f'  "annotations": {{"{ANNOTATION}": "{VALUE}"}}\n'
    assert result == POD.replace("metadata:\n", f"metadata:\n{line}")


def test_a_second_change_replaces_the_value_alone(tmp_path: Path) -> None:
    first = changed(tmp_path / "etcd.yaml", POD)
    again = manifest.annotated(written(tmp_path / "etcd.yaml", first), "later")
    assert again == first.replace(VALUE, "later")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  annotations:\n", f'  annotations: {{"{ANNOTATION}": "{VALUE}"}}\n'),
        ("  annotations: ~ # no\n", f'  annotations: {{"{ANNOTATION}": "{VALUE}"}} # no\n'),
        ("  annotations: {}\n", f'  annotations: {{"{ANNOTATION}": "{VALUE}"}}\n'),
        ("  annotations: {a: b}\n", f'  annotations: {{"{ANNOTATION}": "{VALUE}", a: b}}\n'),
        (
            "  annotations:\n    # why\n    a: |\n      x\n",
            f'  annotations:\n    # why\n    "{ANNOTATION}": "{VALUE}"\n    a: |\n      x\n',
        ),
    ],
)
def test_annotations_of_every_form_are_added_to(tmp_path: Path, old: str, new: str) -> None:
    text = POD.replace("  name: etcd ", f"{old}  name: etcd ")
    assert changed(tmp_path / "etcd.yaml", text) == text.replace(old, new)


@pytest.mark.parametrize(
    "old",
    [
        "  annotations: [a]\n",
        "  annotations: word\n",
        "  annotations: &same {}\n  labels: *same\n",
        "  <<: {annotations: {a: b}}\n",
    ],
)
def test_what_cannot_be_changed_alone_is_refused(tmp_path: Path, old: str) -> None:
    text = POD.replace('  labels: {component: etcd, tier: "control-plane"}\n', old)
    found = written(tmp_path / "etcd.yaml", text)
    with pytest.raises(Unfit, match=r"cannot be set|not a mapping"):
        manifest.annotated(found, VALUE)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "it is not YAML in line 1"),
        ("a: b\n---\nc: d\n", "it is not YAML"),
        ("[" * 5000, "it is not YAML"),
        ("a: 2026-99-99", "it is not YAML"),
        ("- a", "it is not a mapping"),
        ("", "it is not a mapping"),
        (POD.replace("kind: Pod", "kind: Deployment"), "it is a Deployment, not a Pod"),
        (POD.replace("kind: Pod", ""), "it is not a Pod"),
        (POD.replace("name: etcd ", "name: 5 "), "it is not a Pod"),
        (POD.partition("spec:")[0], "it is not a Pod"),
        (POD.partition("  - name")[0], "it is not a Pod"),
        ("kind: Pod\nmetadata: no\nspec: 1", "it is not a Pod"),
        ("x" * (manifest.LARGEST + 1), "larger than any manifest"),
    ],
)
def test_what_is_no_manifest_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(Unfit, match=told) as refused:
        written(tmp_path / "etcd.yaml", text)
    assert str(tmp_path / "etcd.yaml") in str(refused.value)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match="not a regular file"):
        manifest.read(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unfit, match="not a regular file"):
        manifest.read(str(tmp_path / "pipe"))
    (tmp_path / "latin").write_bytes(b"a: \xff")
    with pytest.raises(Unfit, match="not UTF-8"):
        manifest.read(str(tmp_path / "latin"))


def test_a_manifest_that_is_gone_differs_from_a_directory_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(Absent):
        manifest.read(str(tmp_path / "etcd.yaml"))
    with pytest.raises(Unfit, match="its directory is not there") as refused:
        manifest.read(str(tmp_path / "no" / "etcd.yaml"))
    assert not isinstance(refused.value, Absent)


def test_neighbours_are_the_other_pods_that_the_kubelet_reads(tmp_path: Path) -> None:
    found = written(tmp_path / "etcd.yaml", POD)
    (tmp_path / "etcd.bak").write_text(POD)
    (tmp_path / ".hidden.yaml").write_text(POD)
    (tmp_path / "rubbish").write_text("[")
    (tmp_path / "directory").mkdir()
    assert [Path(each.path).name for each in manifest.neighbours(found.path)] == ["etcd.bak"]


def test_a_change_keeps_mode_and_owner_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "etcd.yaml"
    found = written(path, POD)
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 1235)
    (tmp_path / ".etcd.yaml.certrotd").write_text("left by a run that was killed")
    found = manifest.read(str(path))
    manifest.put(found, POD + "# more\n")
    after = path.stat()
    assert path.read_text() == POD + "# more\n"
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert (after.st_uid, after.st_gid) == (found.status.st_uid, found.status.st_gid)
    assert after.st_ino != found.status.st_ino
    assert [each.name for each in tmp_path.iterdir()] == ["etcd.yaml"]


def test_a_change_is_given_up_if_somebody_else_was_faster(tmp_path: Path) -> None:
    path = tmp_path / "etcd.yaml"
    found = written(path, POD)
    path.unlink()
    path.write_text(f"{POD}# by kubeadm\n")
    with pytest.raises(Unfit, match="somebody else changed it just now"):
        manifest.put(found, POD)
    assert path.read_text() == f"{POD}# by kubeadm\n"
    assert [each.name for each in tmp_path.iterdir()] == ["etcd.yaml"]


def test_a_link_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    written(tmp_path / "true.yaml", POD)
    link = tmp_path / "etcd.yaml"
    link.symlink_to("true.yaml")
    with pytest.raises(Unfit, match="it is a symbolic link"):
        manifest.put(manifest.read(str(link)), f"{POD}# more\n")
    assert link.is_symlink()
    assert (tmp_path / "true.yaml").read_text() == POD
