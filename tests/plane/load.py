"""Clients of a control plane as client-go has them; says what failed, what broke, how long it took.

`python -m tests.plane.load KUBECONFIG ROOT` works until its standard input ends, then prints a
`Report` as JSON. ROOT is where absolute paths in the kubeconfig begin. Each worker waits a little
between two requests, so that the load is the same whatever the server does:

    pollers    GET and LIST, on a connection that is kept
    writers    PUT of a ConfigMap (etcd) and POST of an Event (etcd-events), on a connection kept
    newcomers  GET, each on a new connection with a new handshake
    watchers   one long watch of all ConfigMaps each, resumed where it broke

What client-go does unasked is done here, too, and counted: a request that the server asks to send
again (`Retry-After`) is sent again, one that meets a kept connection already closed goes to a new
one. HTTP/1.1, so that one connection carries one request at a time.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.testbed.kubeapi import KubeClient

if TYPE_CHECKING:
    from collections.abc import Iterator

POLLERS, WRITERS, NEWCOMERS, WATCHERS = 4, 2, 1, 4
PAUSE = 0.03
TIMEOUT = 10.0
RETRIES = 10
"""As client-go: how often a request is sent again because the server asks for it."""
RESUME = 0.2
"""Pause in seconds before a broken watch is taken up again."""
_MAPS = "/api/v1/namespaces/default/configmaps"
_EVENTS = "/api/v1/namespaces/default/events"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the clients met. Latencies in milliseconds, of requests that succeeded in the end.

    `failed` are requests without a good answer, `asked_again` those the server sent back with
    `Retry-After`, `reconnected` those that met a closed connection. `breaks` are ends of watches
    that nobody wanted; `behind` watchers that had not seen the last write at the end.
    """

    seconds: float
    requests: int
    writes: int
    failed: int
    failures: list[str]
    asked_again: int
    reconnected: int
    p50: float
    p99: float
    longest: float
    watch_events: int
    breaks: int
    broken: list[str]
    behind: int


@dataclass(slots=True)
class Tally:
    """What one worker counts; only its thread writes."""

    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    writes: int = 0
    asked_again: int = 0
    reconnected: int = 0
    events: int = 0
    broken: list[str] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)


class Caller:
    """One client with one kept connection; reads its identity anew for each connection."""

    def __init__(self, kubeconfig: Path, root: Path, tally: Tally) -> None:
        self._identity = kubeconfig, root
        self._tally = tally
        self._connection: http.client.HTTPSConnection | None = None

    def connect(self) -> http.client.HTTPSConnection:
        """A new connection in the place of the kept one."""
        self.close()
        self._connection = KubeClient(self._identity[0], root=self._identity[1]).connection(TIMEOUT)
        return self._connection

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        """One request with all that client-go does for it; timed, or noted as failed."""
        began = time.perf_counter()
        try:
            self._answered(method, path, body)
        except (OSError, http.client.HTTPException) as e:
            self.close()
            self._tally.failures.append(f"{time.strftime('%H:%M:%S')} {method} {path}: {e!r}")
        else:
            self._tally.latencies.append((time.perf_counter() - began) * 1000)

    def _answered(self, method: str, path: str, body: dict[str, Any] | None) -> None:
        status, answer = 0, b""
        for _ in range(RETRIES):
            status, wait, answer = self._once(method, path, body)
            if status < http.client.BAD_REQUEST:
                return
            if wait is None:
                break
            self._tally.asked_again += 1
            time.sleep(wait)
        raise OSError(f"HTTP {status} {answer[:200]!r}")

    def _once(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> tuple[int, float | None, bytes]:
        kept = self._connection
        try:
            return self._exchange(kept or self.connect(), method, path, body)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            if kept is None:
                raise
        self._tally.reconnected += 1
        return self._exchange(self.connect(), method, path, body)

    def _exchange(
        self,
        connection: http.client.HTTPSConnection,
        method: str,
        path: str,
        body: dict[str, Any] | None,
    ) -> tuple[int, float | None, bytes]:
        """Return the status, how long to wait before asking again, and the content."""
        kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Content-Type": kind})
        response = connection.getresponse()
        content = response.read()
        if response.will_close:
            self.close()
        again = response.headers.get("Retry-After")
        refused = response.status in (
            http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE,
        )  # fmt: skip
        return response.status, float(again) if again and refused else None, content


class Load:
    """All workers of a run."""

    def __init__(self, kubeconfig: Path, root: Path) -> None:
        self._identity = kubeconfig, root
        self._stop = threading.Event()
        self._tallies: list[Tally] = []
        self._threads: list[threading.Thread] = []
        self._began = time.perf_counter()

    def start(self) -> None:
        """Set all to work, the writers first: the others read what they have made."""
        setup = Tally()
        caller = Caller(*self._identity, setup)
        for number in range(WRITERS):
            caller.call(
                "PATCH",
                f"{_MAPS}/load-{number}?fieldManager=load&force=true",
                _config_map(number, 0),
            )
        caller.close()
        if setup.failures:
            raise SystemExit("\n".join(setup.failures))
        for kind, count in (
            (self._write, WRITERS), (self._poll, POLLERS),
            (self._arrive, NEWCOMERS), (self._watch, WATCHERS),
        ):  # fmt: skip
            for number in range(count):
                tally = Tally()
                self._tallies.append(tally)
                self._threads.append(
                    threading.Thread(target=kind, args=(number, tally), daemon=True)
                )
        self._began = time.perf_counter()
        for each in self._threads:
            each.start()

    def finish(self) -> Report:
        """Stop all; the watchers get a moment to see the last write."""
        self._stop.set()
        for each in self._threads[:-WATCHERS]:
            each.join()
        seconds = time.perf_counter() - self._began
        written = {n: v for each in self._tallies for n, v in each.written.items()}
        watchers = self._tallies[-WATCHERS:]
        patience = time.monotonic() + TIMEOUT
        while (behind := sum(each.seen != written for each in watchers)) and (
            time.monotonic() < patience
        ):
            time.sleep(0.05)
        return self._report(seconds, behind)

    def _report(self, seconds: float, behind: int) -> Report:
        tallies = self._tallies
        latencies = sorted(each for one in tallies for each in one.latencies)
        failures = [each for one in tallies for each in one.failures]
        broken = [each for one in tallies for each in one.broken]
        return Report(
            seconds=round(seconds, 1),
            requests=len(latencies) + len(failures),
            writes=sum(each.writes for each in tallies),
            failed=len(failures),
            failures=failures[:20],
            asked_again=sum(each.asked_again for each in tallies),
            reconnected=sum(each.reconnected for each in tallies),
            p50=_quantile(latencies, 0.5),
            p99=_quantile(latencies, 0.99),
            longest=_quantile(latencies, 1.0),
            watch_events=sum(each.events for each in tallies),
            breaks=len(broken),
            broken=broken[:20],
            behind=behind,
        )

    def _poll(self, number: int, tally: Tally) -> None:
        caller = Caller(*self._identity, tally)
        paths = (f"{_MAPS}/load-{number % WRITERS}", f"{_MAPS}?limit=50")
        turn = 0
        while not self._stop.wait(PAUSE):
            caller.call("GET", paths[turn % len(paths)])
            turn += 1

    def _write(self, number: int, tally: Tally) -> None:
        caller = Caller(*self._identity, tally)
        turn = 0
        while not self._stop.wait(PAUSE):
            turn += 1
            failed = len(tally.failures)
            if turn % 4 == 0:
                caller.call("POST", _EVENTS, _event(number))
                tally.writes += len(tally.failures) == failed
                continue
            caller.call("PUT", f"{_MAPS}/load-{number}", _config_map(number, turn))
            if len(tally.failures) == failed:
                tally.writes += 1
                tally.written[f"load-{number}"] = turn

    def _arrive(self, _: int, tally: Tally) -> None:
        caller = Caller(*self._identity, tally)
        while not self._stop.wait(PAUSE):
            caller.call("GET", "/api/v1/namespaces/default")
            caller.close()

    def _watch(self, _: int, tally: Tally) -> None:
        """Watch for ever: every end is a break, and the watch goes on where it was."""
        caller = Caller(*self._identity, tally)
        version = ""
        while True:
            watching, why = False, "ended by the server"
            try:
                version = version or _list(caller.connect(), tally)
                for reached in _watch(caller.connect(), version, tally):
                    watching, version = True, reached
            except (OSError, http.client.HTTPException) as e:
                why = repr(e)
            except _Expired:
                version, why = "", "410 Gone"
            if watching:
                tally.broken.append(f"{time.strftime('%H:%M:%S')} {why}")
            time.sleep(RESUME)


class _Expired(Exception):
    """The server no longer knows the version that a watch was to go on from."""


def _list(connection: http.client.HTTPSConnection, tally: Tally) -> str:
    """Note all ConfigMaps as they are; return the list's version."""
    connection.request("GET", _MAPS)
    answer = json.loads(connection.getresponse().read())
    for each in answer["items"]:
        _note(each, tally)
    return str(answer["metadata"]["resourceVersion"])


def _watch(connection: http.client.HTTPSConnection, version: str, tally: Tally) -> Iterator[str]:
    """Note changes as they come; yield the version reached, at first the one begun with."""
    connection.request("GET", f"{_MAPS}?watch=1&resourceVersion={version}&timeoutSeconds=3600")
    response = connection.getresponse()
    if response.status == http.client.GONE:
        raise _Expired
    if response.status != http.client.OK:
        raise OSError(f"HTTP {response.status}")
    yield version
    while line := response.readline():
        event = json.loads(line)
        if event["type"] == "ERROR":
            raise _Expired
        tally.events += 1
        _note(event["object"], tally)
        yield str(event["object"]["metadata"]["resourceVersion"])


def _note(config_map: dict[str, Any], tally: Tally) -> None:
    name = config_map["metadata"]["name"]
    if name.startswith("load-"):
        tally.seen[name] = int(config_map["data"]["turn"])


def _config_map(number: int, turn: int) -> dict[str, Any]:
    metadata = {"name": f"load-{number}", "namespace": "default"}
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"turn": str(turn)},
    }  # fmt: skip


def _event(number: int) -> dict[str, Any]:
    involved = {"kind": "ConfigMap", "namespace": "default", "name": f"load-{number}"}
    return {
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"generateName": "load-", "namespace": "default"},
        "involvedObject": involved, "reason": "Load", "message": "-", "type": "Normal",
    }  # fmt: skip


def _quantile(ordered: list[float], share: float) -> float:
    if not ordered:
        return float("nan")
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1)


def main(kubeconfig: str, root: str) -> None:
    """Work until the standard input ends."""
    load = Load(Path(kubeconfig), Path(root))
    load.start()
    print("at work", flush=True)
    sys.stdin.read()
    print(json.dumps(asdict(load.finish())), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
