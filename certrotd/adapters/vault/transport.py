"""One request, one answer: HTTP to Vault through hvac's adapter, bounded in time and size.

Only this module and `foreign` import hvac, when the first request is made. The adapter is used
without hvac's client, because that one reads VAULT_TOKEN, VAULT_ADDR and ~/.vault-token. No
adapter is ever used by two threads at once, and every request gets dicts of its own, because hvac
writes into them.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certrotd.adapters.vault import errors
from certrotd.core.errors import IssuerRefused, IssuerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hvac.adapters import RawAdapter
    from requests import Response

    from certrotd.adapters.vault.errors import Purpose
    from certrotd.adapters.vault.settings import VaultConnection
    from certrotd.adapters.vault.sockets import Bounded
    from certrotd.core.errors import CertrotdError
    from certrotd.core.model import Secret
    from certrotd.ports import Clock

LONGEST_ANSWER = 1024 * 1024
"""Bytes; a chain of ten RSA-4096 certificates has 40,000."""
_CHUNK = 64 * 1024
_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer: its status, JSON body (empty if there was none) and headers."""

    purpose: Purpose
    status: int
    body: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether it is a success with a body; Vault answers 204 where there is nothing to say."""
        return self.status == _OK

    @property
    def errors(self) -> str:
        """The server's explanation of a failure."""
        said = self.body.get("errors")
        texts = said if isinstance(said, list) else ()
        return "; ".join(each for each in texts if isinstance(each, str))

    def failure(self) -> CertrotdError:
        """Return the error that this answer means."""
        after = self.headers.get("Retry-After", "")
        return errors.from_status(
            self.purpose,
            self.status,
            self.headers.get("Location") or self.errors,
            # RFC 9110 allows a date too; Vault sends seconds.
            retry_after=float(after) if after.isascii() and after.isdigit() else None,
        )

    def data(self) -> Mapping[str, Any]:
        """Return what a success carries under `data`.

        Raises:
            CertrotdError: it is no success, or carries nothing.
        """
        if not self.ok:
            raise self.failure()
        data = self.body.get("data")
        if not isinstance(data, dict):
            raise errors.wrong_shape(self.purpose, "there is no data in the answer")
        return data


class Transport:
    """Connections to one server, lent to one thread each."""

    def __init__(self, connection: VaultConnection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._idle: list[tuple[RawAdapter, Bounded]] = []

    def post(
        self,
        purpose: Purpose,
        body: Mapping[str, Any],
        ends: float,
        *,
        token: Secret | None = None,
        pair: tuple[str, str] | None = None,
    ) -> Reply:
        """POST a JSON body; `ends` is a monotonic time, `pair` a TLS client certificate and key.

        Raises:
            IssuerUnavailable: no answer (`Retriable` where another try may help).
            IssuerRefused: the answer is not Vault's, or no connection can ever come about.
        """
        return self._send("POST", purpose, ends, token, pair, {"json": dict(body)})

    def get(self, purpose: Purpose, ends: float, *, token: Secret | None = None) -> Reply:
        """GET; raises as `post` does."""
        return self._send("GET", purpose, ends, token, None, {})

    def close(self) -> None:
        """Close all connections."""
        while self._idle:
            self._idle.pop()[0].close()

    def _send(
        self,
        method: str,
        purpose: Purpose,
        ends: float,
        token: Secret | None,
        pair: tuple[str, str] | None,
        content: dict[str, Any],
    ) -> Reply:
        import hvac.exceptions  # noqa: PLC0415  # as in _connect
        import urllib3.exceptions  # noqa: PLC0415

        left = ends - self._clock.monotonic()
        if left <= 0:
            raise IssuerUnavailable(f"{purpose}: no time is left")
        settings = self._connection
        timeouts = (
            min(left, settings.connect_timeout.total_seconds()),
            min(left, settings.read_timeout.total_seconds()),
        )
        if token:
            # Gateways quote what they could not forward.
            known = (*purpose.secrets, token.reveal().decode("ascii"))
            purpose = replace(purpose, secrets=known)
        try:
            with self._line(token, pair) as (adapter, bounded):
                adapter.namespace = purpose.namespace
                bounded.ends = min(ends, self._clock.monotonic() + sum(timeouts))
                response = adapter.request(
                    method, f"/v1/{purpose.path}", timeout=timeouts, stream=True, **content
                )
                with contextlib.closing(response):
                    body = _body(response, purpose)
        except (hvac.exceptions.VaultError, urllib3.exceptions.HTTPError, OSError) as e:
            from certrotd.adapters.vault import foreign  # noqa: PLC0415  # see its docstring

            # `from None`: what they quote may hold a token.
            raise foreign.from_exception(purpose, e) from None
        return Reply(
            purpose=purpose,
            status=response.status_code,
            body=_parsed(purpose, response, body),
            headers=response.headers,
        )

    @contextlib.contextmanager
    def _line(
        self, token: Secret | None, pair: tuple[str, str] | None
    ) -> Iterator[tuple[RawAdapter, Bounded]]:
        """Lend an adapter; one that knows a client certificate is thrown away afterwards."""
        try:
            line = self._connect(pair) if pair else self._idle.pop()
        except IndexError:
            line = self._connect(None)
        adapter, _ = line
        adapter.token = token.reveal().decode("ascii") if token else ""
        try:
            yield line
        finally:
            adapter.token = ""
            if pair:
                adapter.close()
            else:
                self._idle.append(line)

    def _connect(self, pair: tuple[str, str] | None) -> tuple[RawAdapter, Bounded]:
        # Imported here because `plan` and `status` make sessions and never use them.
        from hvac.adapters import RawAdapter  # noqa: PLC0415

        from certrotd.adapters.vault.sockets import Bounded, Unmoved  # noqa: PLC0415

        session = Unmoved()
        # Otherwise ~/.netrc, proxies and CA bundles of the environment would have a say.
        session.trust_env = False
        session.headers["Accept-Encoding"] = "identity"
        session.cert = pair
        # On the session: hvac lets it win over its own argument.
        session.verify = self._trust()
        bounded = Bounded(self._clock)
        session.mount("https://", bounded)
        adapter = RawAdapter(
            base_uri=self._connection.address,
            token="",
            session=session,
            allow_redirects=False,
            ignore_exceptions=True,
        )
        return adapter, bounded

    def _trust(self) -> str | bool:
        file = self._connection.ca_file
        if file is None:
            import ssl  # noqa: PLC0415  # as in _connect

            system = ssl.get_default_verify_paths()
            return system.cafile or system.capath or True
        try:
            Path(file).open("rb").close()
        except OSError as e:
            raise IssuerRefused(
                f"cannot read {file}: {e.strerror}",
                hint="`ca_file` must hold the CA that signed the server's certificate",
            ) from e
        return file


def _body(response: Response, purpose: Purpose) -> bytes:
    """Read an answer piece by piece, so that its size is not without bound."""
    body = b""
    while piece := response.raw.read1(_CHUNK, decode_content=True):
        body += piece
        if len(body) > LONGEST_ANSWER:
            raise errors.wrong_shape(purpose, f"the answer is longer than {LONGEST_ANSWER} B")
    return body


def _ends_anywhere(response: Response) -> bool:
    """Whether only the end of the connection ends the body; Vault always says how long it is."""
    return response.headers.keys().isdisjoint(("content-length", "transfer-encoding"))


def _parsed(purpose: Purpose, response: Response, body: bytes) -> Mapping[str, Any]:
    """Parse a JSON object; of a failure the status is enough, whatever the body."""
    try:
        parsed = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        parsed = None
    kind = response.headers.get("Content-Type", "no content type")
    cut = not parsed and (not body or kind.startswith("application/json"))
    if response.status_code == _OK and cut and _ends_anywhere(response):
        # http.client takes a head that breaks off for a whole one, without a body.
        raise errors.Retriable(f"{purpose}: the answer broke off", unsure=purpose.costly)
    if isinstance(parsed, dict):
        return parsed
    if response.status_code == _OK:
        raise errors.wrong_shape(purpose, f"the answer is no JSON object but {purpose.clean(kind)}")
    if kind.startswith("text/plain"):
        return {"errors": [body.decode("utf-8", "replace")]}
    return {}
