"""What is shown of texts of others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.core.quoting import LONGEST, quoted

TOKEN = "abcdef.0123456789abcdef"  # of the form of one


@given(st.text(max_size=2000))
def test_it_is_one_short_line_that_no_terminal_obeys(text: str) -> None:
    shown = quoted(text)
    assert len(shown) <= LONGEST + 1
    assert all(each.isprintable() for each in shown)


def test_what_is_harmless_stays() -> None:
    assert quoted("node  n\u00e4me\n is gone") == "node n\u00e4me is gone"
    assert quoted("see master.internalcluster1.example") == "see master.internalcluster1.example"


@pytest.mark.parametrize(
    "around", ["{}", "({}).", '"{}"', "token={}", "Bearer {}\n", "{}. So it is"]
)
def test_a_bootstrap_token_is_not_shown(around: str) -> None:
    shown = quoted(around.format(TOKEN))
    assert TOKEN not in shown
    assert "<secret>" in shown


def test_secrets_that_are_known_and_private_keys_are_not_shown() -> None:
    key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\n"
    assert quoted(f"a {key}b s3cret", ["s3cret"]) == "a <private key> b <secret>"
