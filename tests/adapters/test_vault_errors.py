"""What the `vault` issuer tries again, and what foreign exceptions and statuses become."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import hvac.exceptions
import pytest
import requests.exceptions
import urllib3.exceptions

from certrotd.adapters.vault import errors, foreign
from certrotd.adapters.vault.retry import Retrying
from certrotd.core.errors import (
    CertrotdError,
    Interrupted,
    IssuerRefused,
    IssuerUnavailable,
    PermanentError,
    TransientError,
)
from certrotd.ports import Event
from tests.fakes.clock import FakeClock
from tests.fakes.log import RecordingLog
from tests.fakes.stop import FakeStop

if TYPE_CHECKING:
    from collections.abc import Callable


TOKEN = "hvs.CANARY"
PURPOSE = errors.Purpose(what="sign", path="pki/sign/server", server="https://vault:8200")


# Trying again


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def log() -> RecordingLog:
    return RecordingLog()


@pytest.fixture
def stop(clock: FakeClock) -> FakeStop:
    return FakeStop(clock)


def failing(*failures: Exception) -> Callable[[], str]:
    """An attempt that fails so often and then works."""
    left = list(failures)

    def attempt() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return attempt


def run(attempt: Callable[[], str], clock: FakeClock, stop: FakeStop, log: RecordingLog) -> str:
    ends = clock.monotonic() + 60
    return Retrying(clock, log, stop, "https://vault").run(attempt, ends, "sign")


def test_pauses_double_with_jitter_up_to_a_bound(
    clock: FakeClock, stop: FakeStop, log: RecordingLog
) -> None:
    run(failing(*[errors.Retriable("away")] * 8), clock, stop, log)
    for pause, least in zip(stop.waits, (0.25, 0.5, 1, 2, 4, 8, 8, 8), strict=True):
        assert least <= pause <= least + 0.5
    assert len({round(pause % 0.25, 6) for pause in stop.waits}) > 1
    assert [each["attempt"] for each in log.of(Event.ISSUER_RETRIED)] == list(range(1, 9))


def test_the_deadline_holds_and_no_pause_reaches_beyond(
    clock: FakeClock, stop: FakeStop, log: RecordingLog
) -> None:
    began = clock.monotonic()
    with pytest.raises(IssuerUnavailable, match=r"away \(tried \d+ times in \d+ s\)") as caught:
        run(failing(*[errors.Retriable("away", hint="look")] * 99), clock, stop, log)
    assert 50 < clock.monotonic() - began < 60
    assert caught.value.hint == "look"
    assert not isinstance(caught.value, errors.Retriable)


def test_a_named_time_is_waited_for_exactly(
    clock: FakeClock, stop: FakeStop, log: RecordingLog
) -> None:
    run(failing(errors.Retriable("busy", retry_after=7.0)), clock, stop, log)
    assert stop.waits == [7.0]


def test_a_named_time_of_nothing_does_not_make_it_hammer(
    clock: FakeClock, stop: FakeStop, log: RecordingLog
) -> None:
    run(failing(*[errors.Retriable("busy", retry_after=0.0)] * 3), clock, stop, log)
    assert all(pause >= least for pause, least in zip(stop.waits, (0.25, 0.5, 1), strict=True))


def test_what_may_have_been_done_and_costs_something_is_tried_three_times(
    clock: FakeClock, stop: FakeStop, log: RecordingLog
) -> None:
    lost = [errors.Retriable("lost", unsure=True)] * 9
    with pytest.raises(IssuerUnavailable, match="tried 3 times"):
        run(failing(*lost), clock, stop, log)
    # What certainly was not done is waited out besides.
    away = [errors.Retriable("away")] * 5
    assert run(failing(*away, *lost[:2]), clock, stop, log) == "done"


@pytest.mark.parametrize(
    ("status", "said", "unsure"),
    [
        (412, "", False),
        (429, "", False),
        (500, "", True),
        (500, "local node not active but active cluster node not found", False),
        (502, "", True),
        (503, "", False),
        (504, "", True),
    ],
)
def test_only_a_signature_that_may_have_been_made_is_unsure(
    status: int, said: str, *, unsure: bool
) -> None:
    for costly in (False, True):
        error = errors.from_status(replace(PURPOSE, costly=costly), status, said)
        assert isinstance(error, errors.Retriable)
        assert error.unsure is (unsure and costly)


def test_a_named_time_beyond_the_deadline_is_passed_on_at_once(
    clock: FakeClock, stop: FakeStop, log: RecordingLog
) -> None:
    with pytest.raises(IssuerUnavailable) as caught:
        run(failing(errors.Retriable("busy", retry_after=3600.0)), clock, stop, log)
    assert caught.value.retry_after == 3600.0
    assert stop.waits == []


@pytest.mark.parametrize("failure", [IssuerRefused("no"), IssuerUnavailable("away")])
def test_nothing_else_is_tried_again(
    failure: CertrotdError, clock: FakeClock, stop: FakeStop, log: RecordingLog
) -> None:
    with pytest.raises(type(failure)):
        run(failing(failure), clock, stop, log)
    assert stop.waits == []


def test_a_stop_ends_the_waiting_and_keeps_the_cause(clock: FakeClock, log: RecordingLog) -> None:
    stop = FakeStop(clock, after=2)
    with pytest.raises(Interrupted, match="asked to stop"):
        run(failing(*[errors.Retriable("away")] * 9), clock, stop, log)
    assert len(stop.waits) == 2


def test_after_a_stop_nothing_is_begun(clock: FakeClock, stop: FakeStop, log: RecordingLog) -> None:
    stop.set()
    with pytest.raises(Interrupted):
        run(failing(AssertionError("begun")), clock, stop, log)


# Foreign exceptions


def classes(module: Any) -> list[type[Exception]]:
    return [
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, Exception)
        and not issubclass(each, Warning)
        and each.__module__ == module.__name__
    ]


@pytest.mark.parametrize("kind", [*classes(hvac.exceptions), *classes(requests.exceptions)])
def test_every_exception_of_the_libraries_is_known_by_itself(kind: type[Exception]) -> None:
    assert kind in foreign.exceptions()


def made(kind: type[Exception]) -> Exception:
    """An instance whose text quotes a token, as the libraries' own do."""
    error = kind.__new__(kind)
    error.args = (f"Invalid header value: {TOKEN}\n",)
    return error


@pytest.mark.parametrize(
    "kind",
    [
        *classes(hvac.exceptions),
        *classes(requests.exceptions),
        *classes(urllib3.exceptions),
        OSError,
        ConnectionResetError,
    ],
)
def test_every_exception_becomes_ours_and_quotes_nothing(kind: type[Exception]) -> None:
    error = foreign.from_exception(PURPOSE, made(kind))
    assert isinstance(error, TransientError | PermanentError)
    assert TOKEN not in f"{error} {error.hint}"
    for part in ("sign", "https://vault:8200", "pki/sign/server"):
        assert part in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (204, IssuerRefused),
        (301, IssuerUnavailable),
        (307, IssuerUnavailable),
        (400, IssuerRefused),
        (401, IssuerRefused),
        (403, IssuerRefused),
        (404, IssuerRefused),
        (405, IssuerRefused),
        (412, errors.Retriable),
        (413, IssuerRefused),
        (429, errors.Retriable),
        (472, IssuerUnavailable),
        (473, IssuerUnavailable),
        (500, errors.Retriable),
        (501, IssuerUnavailable),
        (502, errors.Retriable),
        (503, errors.Retriable),
        (504, errors.Retriable),
        (599, errors.Retriable),
    ],
)
def test_every_status_has_its_meaning(status: int, kind: type[CertrotdError]) -> None:
    error = errors.from_status(PURPOSE, status, "said")
    assert type(error) is kind
    assert "said" in str(error)


def test_what_the_server_says_is_shortened_and_cleaned() -> None:
    purpose = replace(PURPOSE, secrets=(TOKEN,))
    said = f"a\x1b[31m\nb {TOKEN} " + "x" * 5000
    text = str(errors.from_status(purpose, 400, said))
    assert TOKEN not in text
    assert text.isprintable()
    assert len(text) < 1000
    assert TOKEN not in repr(purpose)
