"""One identity at one API server: calls with JSON in and out, time limits always.

The client library gives what is hard: kubeconfigs with all their ways to log in, tokens that are
replaced, TLS, proxies. Its models are left aside: they differ between its versions, refuse objects
that are newer than they are, and lose parts of them on the way back.
"""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from certrotd.core.errors import ApiRefused, ApiUnavailable
from certrotd.core.quoting import quoted
from certrotd.sockets import seconds_left, socket_class

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from certrotd.core.model import Secret

    Json = dict[str, Any]
    _Read = tuple[int, bytes, Mapping[str, str]]
    """Status, body and headers."""

MERGE = "application/merge-patch+json"
JSON = "application/json"
LIFE = 300.0
"""Seconds after which connections are made anew, so that a replaced identity is taken up: a server
asks for the certificate at the handshake alone, and refuses it from its end on."""
SLACK = 10.0
"""How much longer than the server was asked to watch, in seconds, an answer is waited for."""
LARGEST = 4 * 1024 * 1024
"""No longer object, and no longer line of a watch, is read, in bytes: etcd keeps no object of more
than 1.5 MiB."""
LARGEST_LIST = 64 * 1024 * 1024
"""No longer page of a list is read, in bytes."""
_HINTS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "the client certificate or token is not valid, or not any more",
    HTTPStatus.FORBIDDEN: "the identity needs a role that allows it; config/kubernetes/ has them",
}
_UNTRUSTED = "`ca_file` must hold the CA that signed its certificate, and `server` a name it is for"
_RETRIED = frozenset({408, 409, 410, 429}) | (frozenset(range(500, 600)) - {501})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServer:
    """Which API server, and who asks.

    A kubeconfig; or a server with files or a token; or, if neither is given, a pod's own service
    account. All files are read again now and then. Time limits are in seconds, for connecting and
    for a whole answer.
    """

    kubeconfig: str | None = None
    server: str | None = None
    ca_file: str | None = None
    certificate: str | None = None
    key: str | None = None
    token_file: str | None = None
    token: Secret | None = field(default=None, repr=False)
    connect_timeout: float = 5.0
    read_timeout: float = 20.0


class _Limit(threading.local):
    """How long this thread still waits for the answer it reads."""

    _ends = math.inf

    def begin(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def left(self) -> float:
        return seconds_left(self._ends, time.monotonic())


class ApiConnection:
    """Calls of one identity, from several threads; the library is loaded at the first."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._client: Any = None
        self._until = 0.0
        self._opening = threading.Lock()
        self._limit = _Limit()
        self._secrets: tuple[str, ...] = ()

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        content: str = JSON,
        largest: int = LARGEST,
    ) -> Json:
        """Make one call; an answer of more than `largest` bytes is refused.

        Raises:
            ApiUnavailable: there was no answer, or one that can be another later.
            ApiRefused: the answer is no, or there is no way to ask.
        """
        answer = self._send(method, _url(path, query), body, content, self._server.read_timeout)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            answer.close()
            self.close()  # the identity may have been replaced
            answer = self._send(method, _url(path, query), body, content, self._server.read_timeout)
        return self._object(method, path, self._whole(answer, largest))

    def watch(self, path: str, query: Mapping[str, str], seconds: float) -> Iterator[Json]:
        """Yield the events of a watch, for about so many seconds.

        Raises:
            ApiUnavailable, ApiRefused: see `call`; the status 410 means: list again.
        """
        asked = {"watch": "true", "timeoutSeconds": str(max(1, round(seconds)))} | dict(query)
        answer = self._send("GET", _url(path, asked), None, JSON, seconds + SLACK)
        try:
            if answer.status != HTTPStatus.OK:
                raise self._refusal("GET", path, self._whole(answer, LARGEST))
            for line in _lines(answer):
                event = self._object("watch", path, (HTTPStatus.OK, line, answer.headers))
                if event.get("type") == "ERROR":
                    status = event.get("object", {})
                    told = json.dumps(status).encode()
                    code = int(status.get("code") or HTTPStatus.INTERNAL_SERVER_ERROR)
                    raise self._refusal("watch", path, (code, told, {}))
                yield event
                self._limit.begin(seconds + SLACK)  # what was done with it does not count
        finally:
            answer.close()
            answer.release_conn()

    def close(self) -> None:
        """Close all connections; the next call opens new ones, with what the files hold then."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def quoted(self, text: str) -> str:
        """Return a text of the server's as it may be shown, without our token."""
        return quoted(text, self._secrets)

    def _send(
        self, method: str, path: str, body: Mapping[str, object] | None, content: str, wait: float
    ) -> Any:
        """Return an answer whose body is not read yet."""
        from urllib3 import Timeout  # noqa: PLC0415  # start-up time
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        client = self._opened()
        headers = _headers(client)
        self._secrets = tuple(headers.get("authorization", "").split()[1:])
        if body is not None:
            headers["Content-Type"] = content
        self._limit.begin(self._server.connect_timeout + wait)
        try:
            return client.rest_client.pool_manager.request(
                method,
                client.configuration.host + path,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=Timeout(connect=self._server.connect_timeout, read=wait),
                preload_content=False,
                retries=False,
                redirect=False,
            )
        except HTTPError as e:
            self.close()
            reason = self.quoted(str(getattr(e, "reason", None) or e))
            raise ApiUnavailable(
                f"kube-apiserver {client.configuration.host} does not answer: {reason}",
                hint=_UNTRUSTED if "certificate verify failed" in reason else "",
            ) from e

    def _opened(self) -> Any:
        with self._opening:
            client = self._client  # another thread may close it meanwhile
            if client is not None and time.monotonic() >= self._until:
                self.close()
                client = None
            if client is None:
                client = _client(self._server)
                _bound(client, self._limit)
                self._client, self._until = client, time.monotonic() + LIFE
            return client

    def _whole(self, answer: Any, largest: int) -> _Read:
        """Read an answer to its end, and let go of it."""
        from urllib3.exceptions import HTTPError  # noqa: PLC0415  # start-up time

        try:
            body = answer.read(largest + 1)
            if len(body) > largest:
                answer.close()  # nobody shall take the rest for the next answer
                raise ApiRefused(f"kube-apiserver's answer has more than {largest} bytes")
        except HTTPError as e:
            told = self.quoted(str(e))
            raise ApiUnavailable(f"kube-apiserver's answer broke off: {told}") from e
        finally:
            answer.release_conn()
        return answer.status, body, answer.headers

    def _object(self, method: str, path: str, read: _Read) -> Json:
        status, body, _ = read
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise self._refusal(method, path, read)
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as e:
            raise ApiUnavailable(f"{method} {path}: the answer is not JSON", status=status) from e
        if not isinstance(value, dict):
            raise ApiUnavailable(f"{method} {path}: the answer is not an object", status=status)
        return value

    def _refusal(self, method: str, path: str, read: _Read) -> ApiUnavailable | ApiRefused:
        """Say what a status other than 2xx means; API servers send a Status object."""
        status, body, headers = read
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            to = self.quoted(headers.get("Location", ""))
            return ApiUnavailable(
                f"{method} {path}: HTTP {status}: it redirects to {to or 'nowhere'}, which is not "
                "followed",
                hint="whoever answers there is no kube-apiserver",
                status=status,
            )
        try:
            text = str(json.loads(body)["message"])
        except (ValueError, KeyError, TypeError, RecursionError):
            text = body.decode(errors="replace")
        message = f"{method} {path}: HTTP {status}: {self.quoted(text)}"
        if status in _RETRIED:
            after = headers.get("Retry-After", "")
            seconds = float(after) if after.isdecimal() else None
            return ApiUnavailable(message, status=status, retry_after=seconds)
        return ApiRefused(message, status=status, hint=_HINTS.get(status, ""))


def _client(server: ApiServer) -> Any:
    """Make a client of the library's.

    Raises:
        ApiRefused: what is configured cannot be read.
    """
    import kubernetes  # noqa: PLC0415  # a third of a second
    from yaml import YAMLError  # noqa: PLC0415

    client: Any = kubernetes.client
    config: Any = kubernetes.config  # not typed, although the package says so
    settings = client.Configuration()
    try:
        if server.kubeconfig is not None:
            config.load_kube_config(
                server.kubeconfig, client_configuration=settings, persist_config=False
            )
        elif server.server is not None:
            settings.host = server.server.rstrip("/")
            settings.ssl_ca_cert = server.ca_file
            settings.cert_file, settings.key_file = server.certificate, server.key
            if server.token_file is not None:
                settings.refresh_api_key_hook = _token_of(server.token_file)
                settings.api_key = {"authorization": ""}
            elif server.token is not None:
                bearer = server.token.reveal().decode("ascii")
                settings.api_key = {"authorization": f"Bearer {bearer}"}
        else:
            config.load_incluster_config(client_configuration=settings)
        for path in (settings.ssl_ca_cert, settings.cert_file, settings.key_file):
            if path:
                Path(path).read_bytes()  # later nobody would say which file it was
        made = client.ApiClient(settings)
    except (config.ConfigException, YAMLError, OSError, TypeError, KeyError) as e:
        where = server.kubeconfig or server.server or "the pod's service account"
        raise ApiRefused(
            f"cannot use {where} to reach kube-apiserver: {e}",
            hint="give a kubeconfig, or a server with ca_file and a client pair or a token file",
        ) from e
    return made


def _bound(client: Any, limit: _Limit) -> None:
    """Have a client's connections keep a time limit for whole answers."""
    from urllib3.util.ssl_ import create_urllib3_context  # noqa: PLC0415  # start-up time

    pool = client.rest_client.pool_manager.connection_pool_kw
    context = create_urllib3_context(cert_reqs=pool["cert_reqs"])
    if not pool["ca_certs"] and not pool["ca_cert_data"]:
        context.load_default_certs()  # which urllib3 does only for its own
    context.sslsocket_class = socket_class(limit.left)
    pool["ssl_context"] = context


def _token_of(path: str) -> Any:
    def refresh(settings: Any) -> None:
        settings.api_key = {"authorization": f"Bearer {Path(path).read_text().strip()}"}

    return refresh


def _headers(client: Any) -> dict[str, str]:
    """Return what each request carries, the token among it.

    Raises:
        ApiRefused: the token cannot be read.
    """
    headers = {"Accept": JSON, "User-Agent": "certrotd"}
    try:
        settings = client.configuration.auth_settings()
    except OSError as e:
        raise ApiRefused(f"cannot use the token for kube-apiserver: {e}") from e
    for each in settings.values():
        if each["value"]:
            headers[each["key"]] = each["value"]
    return headers


def _url(path: str, query: Mapping[str, str] | None) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _lines(answer: Any) -> Iterator[bytes]:
    """Yield the lines of an answer as they come."""
    from urllib3.exceptions import HTTPError  # noqa: PLC0415  # start-up time

    pending = bytearray()
    try:
        for part in answer.stream(amt=None, decode_content=True):
            pending += part
            *whole, rest = pending.split(b"\n")
            yield from (bytes(line) for line in whole if line)
            pending = bytearray(rest)
            if len(pending) > LARGEST:
                raise ApiRefused(f"one event of a watch has more than {LARGEST} bytes")
    except HTTPError as e:
        raise ApiUnavailable(f"kube-apiserver ended the watch: {e}") from e
