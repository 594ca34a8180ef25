"""Who answers where a kubelet should: every answer ends in bounded time and in plain words.

tests/adapters/test_static_pods.py asks a real kubelet.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.cri import kubelet
from certrotd.adapters.cri.containers import Unreachable
from certrotd.adapters.cri.kubelet import KubeletView, check_health
from tests.testbed.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def answering(*parts: bytes, pause: float = 0.0) -> Iterator[str]:
    """Serve one connection with these bytes, slowly if told so; the URL is yielded."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                for part in parts:
                    connection.sendall(part)
                    time.sleep(pause)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/pods"
        thread.join()


def http(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def view(url: str) -> KubeletView:
    return KubeletView(url, lambda _namespace, _pod: True)


def test_one_that_is_well_says_ok() -> None:
    with answering(http(b"ok")) as url:
        check_health(url)


def test_one_that_is_not_is_quoted() -> None:
    with (
        answering(http(b"[-]syncloop\nfailed", "500 Internal Server Error")) as url,
        pytest.raises(Unreachable, match=r"500 \[-\]syncloop failed"),
    ):
        check_health(url)


def test_nobody_there_is_told() -> None:
    with pytest.raises(Unreachable, match="refused"):
        check_health(f"http://127.0.0.1:{free_port()}/healthz")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", http(b"x")[:-1]])
def test_what_is_no_whole_answer_is_told(answer: bytes) -> None:
    with answering(answer) as url, pytest.raises(Unreachable, match="kubelet at http"):
        check_health(url)


@pytest.mark.parametrize("answer", [http(b"x" * 20), b"HTTP/1.1 200 OK\r\nA: bbbbbb\r\n"])
def test_who_dribbles_is_given_up(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubelet, "LOOK", 0.5)
    begin = time.monotonic()
    with (
        answering(*[bytes([byte]) for byte in answer], pause=0.05) as url,
        pytest.raises(Unreachable, match="kubelet at http"),
    ):
        check_health(url)
    assert time.monotonic() - begin < 3


@pytest.mark.parametrize(
    "body", ["no JSON", "[]", "{}", '{"items": [1]}', '{"items": [{"metadata": {}}, 2]}']
)
def test_what_is_no_list_of_pods_is_told(body: str) -> None:
    with (
        answering(http(body.encode())) as url,
        pytest.raises(Unreachable, match="no list of pods"),
    ):
        view(url).containers()


def test_pods_that_are_not_static_are_passed_over() -> None:
    state = {"name": "a", "state": {"running": {"startedAt": "2026-11-24T12:00:00Z"}}}
    pods = [
        {
            "metadata": {"name": "x", "namespace": "n", "annotations": {**source}},
            "status": {"containerStatuses": [{**state, "containerID": f"containerd://{number}"}]},
        }
        for number, source in enumerate(
            ({"kubernetes.io/config.source": "file"}, {"kubernetes.io/config.source": "api"}, {})
        )
    ]
    with answering(http(json.dumps({"items": pods}).encode())) as url:
        assert [each.id for each in view(url).containers()] == ["0"]
