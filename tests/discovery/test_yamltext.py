"""What is written as YAML is read back the same, whatever it says."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from certrotd.discovery.yamltext import Block, Entry, comment, render, scalar

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30)
KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=10)
PLAIN = st.recursive(
    TEXTS | st.booleans(),
    lambda inner: (
        st.lists(TEXTS, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.lists(st.dictionaries(KEYS, inner, min_size=1, max_size=3), max_size=3)
    ),
    max_leaves=12,
)


def as_block(value: object, note: str) -> Block | str | bool | tuple[str, ...] | tuple[Block, ...]:
    if isinstance(value, dict):
        return Block(
            tuple(
                Entry(k, as_block(v, note), above=(note, ""), beside=note) for k, v in value.items()
            )
        )
    if isinstance(value, list):
        return tuple(as_block(each, note) for each in value)  # type: ignore[return-value]
    assert isinstance(value, str | bool)
    return value


@given(st.dictionaries(KEYS, PLAIN, max_size=4), st.text(max_size=200))
def test_a_document_reads_back_whatever_its_comments_say(
    data: dict[str, object], note: str
) -> None:
    top = as_block(data, note)
    assert isinstance(top, Block)
    assert (yaml.safe_load(render(top)) or {}) == data


@given(st.text(max_size=300))
def test_a_comment_is_nothing_but_comment(text: str) -> None:
    assert all(line.startswith("  #") for line in comment(text, 2))
    assert yaml.safe_load("\n".join(comment(text))) is None


def test_words_yaml_would_guess_at_are_quoted() -> None:
    for text in ("true", "No", "null", "~", "1.2", "0755", "1e3", "", "a: b", "a #b", "[a", "3.7"):
        assert scalar(text).startswith('"'), text
    for text in ("digital signature", "/etc/kubernetes/pki/ca.crt", "pki/etcd", "rsa-2048", "7d"):
        assert scalar(text) == text
