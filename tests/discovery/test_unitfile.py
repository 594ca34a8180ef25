"""Unit files are read as systemd reads them; what it runs them as is tried in tests/systemd."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.discovery import unitfile
from certrotd.discovery.unitfile import Setting

FILE = "/etc/systemd/system/etcd.service"
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"]), max_size=12)


def starts(*lines: str) -> list[Setting]:
    text = "\n".join((f"# {FILE}", "[Service]", *lines))
    return [each for each in unitfile.settings(text, (FILE,)) if each.name == "ExecStart"]


def words(line: str, **environment: str) -> list[str]:
    given = Setting("ExecStart", line, FILE, 3)
    return [each.text for each in unitfile.command(given, "etcd@events.service", environment)]


@given(st.lists(TEXTS, min_size=1, max_size=5), st.data())
def test_quoted_words_come_back(arguments: list[str], data: st.DataObject) -> None:
    quote = data.draw(st.sampled_from(["'", '"']))
    escaped = [
        "".join(f"\\{c}" if c in f"\\{quote}" else "$$" if c == "$" else "%%" if c == "%" else c
                for c in each)
        for each in arguments
    ]  # fmt: skip
    line = " ".join(f"{quote}{each}{quote}" for each in escaped)
    assert words(f"/usr/bin/etcd {line}") == ["/usr/bin/etcd", *arguments]


@given(st.text(max_size=60))
def test_no_line_is_too_odd(line: str) -> None:
    try:
        words(line, HOME="/root")
    except ValueError as e:
        assert "has no partner" in str(e)  # noqa: PT017  # only some lines are faulty


def test_continued_lines_are_one_and_keep_the_line_they_begin_in() -> None:
    (found,) = starts(
        "Type=notify",
        "ExecStart=/usr/bin/etcd \\",
        "  --name=a \\",
        "# a comment between",
        "  --cert-file=/b",
    )
    assert words(found.value) == ["/usr/bin/etcd", "--name=a", "--cert-file=/b"]
    assert (found.file, found.line) == (FILE, 3)


def test_an_empty_assignment_resets_and_drop_ins_count_from_their_own_first_line() -> None:
    drop_in = "/etc/systemd/system/etcd.service.d/a.conf"
    text = (
        f"# {FILE}\n[Unit]\nExecStart=/no\n[Service]\nExecStart=/usr/bin/etcd --old\n\n"
        f"# {drop_in}\n# {FILE}.not a file\n[Service]\nExecStart=\nExecStart=/usr/bin/etcd --new\n"
    )
    found = unitfile.settings(text, (FILE, drop_in))
    assert found == (Setting("ExecStart", "/usr/bin/etcd --new", drop_in, 4),)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("-/usr/bin/etcd --a", ["/usr/bin/etcd", "--a"]),
        ("@/usr/bin/etcd named --a", ["/usr/bin/etcd", "--a"]),
        ("!!/usr/bin/etcd", ["/usr/bin/etcd"]),
        ("/usr/bin/etcd --a='b c'", ["/usr/bin/etcd", "--a=b c"]),
        ("/usr/bin/etcd --a=${IP}:1 $MORE", ["/usr/bin/etcd", "--a=10.0.0.1:1", "--b", "--c=d e"]),
        ('/usr/bin/etcd "$MORE"', ["/usr/bin/etcd", "$MORE"]),
        (":/usr/bin/etcd --a=${IP}", ["/usr/bin/etcd", "--a=${IP}"]),
        ("/usr/bin/etcd --a=${OTHER} $OTHER", ["/usr/bin/etcd", "--a=${OTHER}", "$OTHER"]),
        ("/usr/bin/etcd --a=$$IP --b=%i-%p-%%", ["/usr/bin/etcd", "--a=$IP", "--b=events-etcd-%"]),
        (r"/usr/bin/etcd --a=b\x20c\n", ["/usr/bin/etcd", "--a=b c\n"]),
    ],
)
def test_commands(line: str, wanted: list[str]) -> None:
    assert words(line, IP="10.0.0.1", MORE="--b '--c=d e'") == wanted


def test_environments() -> None:
    assert unitfile.environment('A=1 "B=two words" C=') == {"A": "1", "B": "two words", "C": ""}
    text = "# a comment\nA=1\nexport B='two words'\n\nC=\"x\"\nnothing\nD=a \\\n  b\n"
    found = unitfile.environment_file(text)
    assert found == {"A": "1", "B": "two words", "C": "x", "D": "a    b"}


def test_a_quote_without_its_partner_is_refused() -> None:
    with pytest.raises(ValueError, match="has no partner"):
        words("/usr/bin/etcd --a='b")
