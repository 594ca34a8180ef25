"""Files, conf.d and YAML itself: what is read, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from certrotd.config import load
from certrotd.config.files import LARGEST
from tests.config_text import GOOD, faults, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MORE = """\
components:
  scheduler:
    activation: {none: {}}
    certificates:
      scheduler:
        issuer: lab
        common_name: scheduler
        usages: [client auth]
        outputs: [{combined: /pki/scheduler.pem}]
"""
BOMB = (
    "x-0: &a0 [a, a, a, a, a, a, a, a, a, a]\n"
    + "".join(f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    + "cluster: *a8\n"
)

TEXTS: dict[str, tuple[str, list[str]]] = {
    "an empty file": ("", ["certrotd.yaml: configures nothing"]),
    "a file of comments": ("# nothing\n", ["certrotd.yaml: configures nothing"]),
    "a list": ("- a\n", ["certrotd.yaml:1: must be a mapping of keys to values"]),
    "a word": ("\nhello\n", ["certrotd.yaml:2: must be a mapping of keys to values"]),
    "a tab": (
        GOOD.replace("    activation", "\tactivation"),
        ["certrotd.yaml:5: is not valid YAML: a tab indents this line; use spaces"],
    ),
    "an open bracket": (
        "cluster: [a\n",
        ["certrotd.yaml:2: is not valid YAML: did not find expected ',' or ']'"],
    ),
    "two documents": (
        f"{GOOD}---\n{GOOD}",
        ["certrotd.yaml:13: holds a second YAML document; write one, without '---' inside"],
    ),
    "a control character": (
        "cluster: a\nnode: \x01\n",
        ["certrotd.yaml:2: is not valid YAML: control characters are not allowed"],
    ),
    "an unknown alias": (
        "cluster: *nowhere\n",
        ["certrotd.yaml:1: is not valid YAML: found undefined alias"],
    ),
    "a tag that makes objects": (
        f"cluster: !!python/name:os.system x\n{GOOD}",
        [
            (
                "certrotd.yaml:1: cluster: has the tag tag:yaml.org,2002:python/name:os.system; "
                "tags are not allowed"
            )
        ],
    ),
    "a key that is a list": (
        f"[a]: b\n{GOOD}",
        ["certrotd.yaml:1: has a list or a mapping where a key is expected"],
    ),
    "aliases of aliases": (
        BOMB,
        ["certrotd.yaml:1: grows too large: an alias that holds itself or many others"],
    ),
    "an alias inside its own anchor": (
        "cluster: &a [*a]\n",
        ["certrotd.yaml:1: grows too large: an alias that holds itself or many others"],
    ),
    "a mapping merged into itself": (
        "cluster: &a\n  <<: *a\n",
        ["certrotd.yaml:1: merges a mapping into itself"],
    ),
    "a merge of a word": (
        f"log: {{<<: info}}\n{GOOD}",
        ["certrotd.yaml:1: log.<<: must name a mapping"],
    ),
    "a tower": (
        "cluster: " + "[" * 100_000,
        ["certrotd.yaml:1: is nested deeper than 50 levels"],
    ),
}


@pytest.mark.parametrize("case", TEXTS)
def test_text_that_is_no_configuration_is_refused_where_it_stands(
    case: str, tmp_path: Path
) -> None:
    text, expected = TEXTS[case]
    assert faults(write(tmp_path, text)) == expected


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "certrotd.yaml"
    assert faults(path) == ["certrotd.yaml: cannot be read: No such file or directory"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "certrotd.yaml").mkdir()
    assert faults(tmp_path / "certrotd.yaml") == [
        "certrotd.yaml: is a directory; it must be a YAML file"
    ]


def test_a_named_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "certrotd.yaml")
    assert faults(tmp_path / "certrotd.yaml") == [
        "certrotd.yaml: is not a plain file; it must be a YAML file"
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user to be refused")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    path.chmod(0)
    told = as_nobody(lambda: faults(path), tmp_path)
    assert told == ["certrotd.yaml: cannot be read: Permission denied"]


def as_nobody(work: Callable[[], list[str]], folder: Path) -> list[str]:
    """Do something without root's rights; the folder stays within reach."""
    for each in (folder, *folder.parents):
        if each.stat().st_mode & 0o055 != 0o055:
            each.chmod(each.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        return work()
    finally:
        os.seteuid(0)


def test_a_file_that_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "certrotd.yaml"
    path.write_bytes(b"cluster: a\nnode: caf\xe9\n")
    assert faults(path) == ["certrotd.yaml: is not UTF-8 text: see line 2"]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert faults(write(tmp_path, "\ufeff" + GOOD)) == []


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    os.truncate(path, LARGEST + 1)
    assert faults(path) == ["certrotd.yaml: is larger than 4 MiB"]


@pytest.mark.parametrize("name", ["certrotd.yaml", "conf.d/more.yaml", "conf.d"])
def test_what_everybody_may_write_is_refused(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    write(tmp_path, MORE, "conf.d/more.yaml")
    (tmp_path / name).chmod(0o777)
    assert faults(path) == [
        (
            f"{name}: everybody may write it, and it names programs that are run: take that away "
            "with chmod o-w"
        )
    ]


# --- conf.d


def test_components_of_all_files_come_in_the_order_of_the_files(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    write(tmp_path, MORE.replace("scheduler", "zz"), "conf.d/10-first.yaml")
    write(tmp_path, MORE, "conf.d/20-second.yaml")
    assert [each.name for each in load(path).components] == ["etcd", "zz", "scheduler"]


def test_a_fault_names_the_file_it_is_in(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    write(tmp_path, MORE.replace("issuer: lab", "issuer: lap"), "conf.d/more.yaml")
    assert faults(path) == [
        (
            "conf.d/more.yaml:6: components.scheduler.certificates.scheduler.issuer: 'lap' names "
            "no issuer; did you mean 'lab'?"
        )
    ]


def test_a_component_in_two_files_is_told_with_both_places(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    write(tmp_path, MORE.replace("  scheduler:\n    act", "  etcd:\n    act"), "conf.d/more.yaml")
    assert faults(path) == [
        f"conf.d/more.yaml:2: components.etcd: is given twice; first in {path}:4"
    ]


def test_a_setting_in_two_files_is_told_with_both_places(tmp_path: Path) -> None:
    path = write(tmp_path, f"cluster: a\n{GOOD}")
    write(tmp_path, "cluster: b\n", "conf.d/more.yaml")
    assert faults(path) == [f"conf.d/more.yaml:1: cluster: is given twice; first in {path}:1"]


def test_all_unreadable_files_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "[")
    write(tmp_path, "]", "conf.d/a.yaml")
    (tmp_path / "conf.d" / "b.yaml").symlink_to("nowhere")
    assert [line.split(":")[0] for line in faults(path)] == [
        "certrotd.yaml",
        "conf.d/a.yaml",
        "conf.d/b.yaml",
    ]


def test_an_empty_file_in_conf_d_adds_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    write(tmp_path, "# all in comments\n", "conf.d/more.yaml")
    assert faults(path) == []


def test_a_file_in_conf_d_that_looks_read_but_is_not_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    for name in ("more.yml", "more.yaml.example", ".hidden.yaml", "README"):
        write(tmp_path, MORE, f"conf.d/{name}")
    assert faults(path) == ["conf.d/more.yml: is not read: only *.yaml is; rename it"]


def test_conf_d_that_is_a_file_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    write(tmp_path, MORE, "conf.d")
    assert faults(path) == ["conf.d: cannot be read: Not a directory"]


# --- YAML's conveniences


def test_anchors_serve_from_a_private_key(tmp_path: Path) -> None:
    text = "x-usages: &usages [client auth]\n" + GOOD.replace(
        "[server auth, client auth]", "*usages"
    )
    (component,) = load(write(tmp_path, text)).components
    assert [str(each) for each in component.certificates[0].usages] == ["client auth"]


def test_of_merged_mappings_the_first_wins_and_own_keys_before_all(tmp_path: Path) -> None:
    text = (
        "x-a: &a {common_name: from-a, role: from-a}\n"
        "x-b: &b {common_name: from-b, role: from-b, key: ed25519}\n"
    ) + GOOD.replace("        issuer: lab\n", "        <<: [*a, *b]\n        issuer: lab\n")
    (component,) = load(write(tmp_path, text)).components
    spec = component.certificates[0]
    assert (spec.common_name, spec.role, str(spec.key)) == ("etcd", "from-a", "ed25519")


def test_a_fault_in_a_merged_mapping_is_told_where_it_stands(tmp_path: Path) -> None:
    text = "x-a: &a\n  role: /bad\n" + GOOD.replace(
        "        issuer: lab\n", "        <<: *a\n        issuer: lab\n"
    )
    (told,) = faults(write(tmp_path, text))
    assert told.startswith("certrotd.yaml:2: components.etcd.certificates.server.role: ")


def test_yaml_guesses_nothing(tmp_path: Path) -> None:
    text = GOOD.replace("common_name: etcd", "common_name: 0755").replace("localhost", "on")
    (component,) = load(write(tmp_path, f"cluster: 12\n{text}")).components
    assert component.certificates[0].common_name == "0755"
    assert component.certificates[0].dns_names == ("on",)


def test_neither_pydantic_nor_yaml_nor_cryptography_is_loaded_before_it_is_needed(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, GOOD)
    program = (
        "import sys; from pathlib import Path; import certrotd.config\n"
        "print([m for m in ('pydantic_core', 'yaml', 'certrotd.core.model') if m in sys.modules])\n"
        "certrotd.config.load(Path(sys.argv[1]))\n"
        "print([m for m in ('pydantic', 'cryptography', 'hvac') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n[]\n"
