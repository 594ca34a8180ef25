"""Command lines as they are written: in lists, in shell scripts, in the environment."""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from certrotd.discovery.commandline import (
    Word,
    expanded,
    flags,
    from_environment,
    program_in,
)

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,8}){0,3}", fullmatch=True)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), max_size=20)
KNOWN = {"etcd", "kube-apiserver"}


def words(*texts: str) -> tuple[Word, ...]:
    return tuple(Word(text, line) for line, text in enumerate(texts, 1))


@given(st.dictionaries(NAMES, VALUES, max_size=6), st.data())
def test_every_way_of_writing_a_flag_means_the_same(
    settings: dict[str, str], data: st.DataObject
) -> None:
    arguments: list[str] = []
    for name, value in settings.items():
        written = name.replace("-", "_") if data.draw(st.booleans()) else name
        dashes = data.draw(st.sampled_from(["--", "-"]))
        if value.startswith("-") or data.draw(st.booleans()):
            arguments.append(f"{dashes}{written}={value}")
        else:
            arguments += [f"{dashes}{written}", value]
    found = flags(map(Word, arguments))
    assert {name: found.text(f"--{name}") for name in settings} == settings


@given(st.dictionaries(NAMES, VALUES, max_size=5), st.sampled_from(["sh", "/bin/bash"]))
def test_a_shell_script_is_read_as_the_shell_would(settings: dict[str, str], shell: str) -> None:
    assume(not any(re.search(r"[\\`$!]", value) for value in settings.values()))
    command = " \\\n  ".join(
        ["exec /usr/local/bin/etcd", *(f"--{n}={shlex.quote(v)}" for n, v in settings.items())]
    )
    script = f"mkfifo /tmp/pipe; (tee -a /log < /tmp/pipe & ); {command} > /tmp/pipe 2>&1"
    found = program_in(words(shell, "-c", script), KNOWN)
    assert found is not None
    assert found[0] == "etcd"
    got = flags(found[1])
    assert {name: got.text(f"--{name}") for name in settings} == settings


@given(st.lists(VALUES, max_size=8))
def test_no_list_of_arguments_is_too_odd(arguments: list[str]) -> None:
    flags(map(Word, arguments))


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--a", "--b=1"], {"--a": "true", "--b": "1"}),
        (["--a=1", "--a=2"], {"--a": "2"}),
        (["--a="], {"--a": ""}),
        (["--a=b=c"], {"--a": "b=c"}),
        (["-v", "2", "stray", "--a", "1"], {"--v": "2", "--a": "1"}),
        (["--a", "-1"], {"--a": "-1"}),
        (["--a", "1", "--", "--b=2"], {"--a": "1"}),
    ],
)
def test_flags(arguments: list[str], wanted: dict[str, str]) -> None:
    found = flags(map(Word, arguments))
    assert {name: values[-1].text for name, values in found.words.items()} == wanted


def test_a_value_keeps_the_line_it_stands_in() -> None:
    found = flags(words("--cert-file=/a", "--key-file", "/b"))
    assert found.last("--cert-file") == ("--cert-file", Word("/a", 1))
    assert found.last("--key-file") == ("--key-file", Word("/b", 3))


@pytest.mark.parametrize(
    ("arguments", "program"),
    [
        (["/usr/bin/etcd", "--a"], "etcd"),
        (["hyperkube", "kube-apiserver", "--a"], "kube-apiserver"),
        (["env", "A=b", "etcd", "--a"], "etcd"),
        (["sh", "-ec", "umask 077 && etcd --a"], "etcd"),
        (["sh", "-c", "sleep 1"], None),
        (["nginx", "etcd"], None),
        ([], None),
    ],
)
def test_the_program_behind_a_command(arguments: list[str], program: str | None) -> None:
    found = program_in(words(*arguments), KNOWN)
    assert (found[0] if found else None) == program
    if found:
        assert flags(found[1]).text("--a") == "true"


def test_a_script_with_an_open_quote_is_refused() -> None:
    with pytest.raises(ValueError, match="quotation"):
        program_in(words("sh", "-c", "etcd --a='b"), KNOWN)


def test_variables_are_filled_in_as_the_kubelet_does() -> None:
    settings = {"HOST": "10.0.0.1"}
    assert expanded(Word("https://$(HOST):1", 7), settings) == Word("https://10.0.0.1:1", 7)
    assert expanded(Word("$$(HOST)"), settings).text == "$(HOST)"
    unknown = expanded(Word("$(OTHER)"), settings)
    assert unknown.text == "$(OTHER)"
    assert unknown.unresolved


def test_variables_that_stand_for_flags_count_where_the_flag_is_not_given() -> None:
    stands_for = from_environment({"ETCD_CERT_FILE": "/env", "HOME": "/root"}, "ETCD_")
    assert flags(words("--name=a")).with_defaults(stands_for).text("--cert-file") == "/env"
    assert flags(words("--cert-file=/a")).with_defaults(stands_for).text("--cert-file") == "/a"
    assert not from_environment({"ETCD_CERT_FILE": "/env"}, "")
