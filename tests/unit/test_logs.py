from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.core.model import KeyAlgorithm, Secret
from certrotd.core.x509 import key_pem, new_key
from certrotd.logs import open_log, redact
from certrotd.ports import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = key_pem(new_key(KeyAlgorithm.ECDSA_P256)).reveal().decode()
TOKEN = "hvs.CAESIJ0Zk3canaryCANARY0123456789"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ"
CANARIES = (KEY, TOKEN, JWT)


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    names = ("apscheduler", "hvac", "urllib3", "requests", "kubernetes")
    before = {n: (logging.getLogger(n).handlers, logging.getLogger(n).propagate) for n in names}
    yield
    for name, (handlers, propagate) in before.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = handlers, propagate


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_its_facts_level_and_time() -> None:
    stream = io.StringIO()
    open_log(stream)(Event.STEP_FAILED, component="etcd", duration=1.23456)
    (line,) = lines(stream)
    assert line["event"] == "step_failed"
    assert line["level"] == "error"
    assert line["component"] == "etcd"
    assert line["duration"] == 1.235
    assert str(line["timestamp"]).endswith("Z")


def test_the_level_hides_what_is_less_severe() -> None:
    stream = io.StringIO()
    log = open_log(stream, level="warning")
    log(Event.RUN_STARTED)
    log(Event.HOLD_PLACED)
    assert [line["event"] for line in lines(stream)] == ["hold_placed"]


def test_the_console_form_is_for_people() -> None:
    stream = io.StringIO()
    open_log(stream, form="console")(Event.RUN_STARTED, certificates=3)
    assert "run_started" in stream.getvalue()
    assert "certificates=3" in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_local_variables(form: str) -> None:
    stream = io.StringIO()
    log = open_log(stream, form=form)

    def fail() -> None:
        canary = "canary-" + "in-a-local"
        raise ValueError(len(canary))

    try:
        fail()
    except ValueError as e:
        log(Event.TICK_FAILED, error=repr(e), exc_info=e)
    assert "ValueError" in stream.getvalue()
    assert "in fail" in stream.getvalue()
    assert "canary-in-a-local" not in stream.getvalue()


def test_foreign_libraries_log_through_the_same_redaction() -> None:
    stream = io.StringIO()
    open_log(stream)
    logging.getLogger("urllib3").warning("answer was %s", TOKEN)
    logging.getLogger("urllib3").debug("not shown")
    assert "canary" not in stream.getvalue()
    assert [line["level"] for line in lines(stream)] == ["warning"]


_leaf = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(CANARIES),
    st.sampled_from(CANARIES).map(str.encode), st.sampled_from(CANARIES).map(Exception),
    st.just(Secret(KEY.encode())),
)  # fmt: skip
_nested = st.recursive(
    _leaf,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["error", "detail", "answer"]), _nested))
def test_no_secret_survives_redaction_however_deep_it_hides(event: dict[str, object]) -> None:
    text = json.dumps(redact(None, "", event))
    for canary in (KEY.splitlines()[1], TOKEN, JWT.rpartition(".")[0]):
        assert canary not in text


def test_what_is_named_like_a_secret_is_never_shown() -> None:
    event: dict[str, object] = {"secret_id": "short", "answer": {"client_token": "x"}}
    assert "short" not in str(redact(None, "", event))
    assert redact(None, "", event)["answer"] == {"client_token": "<redacted>"}
