"""One identity at one Vault server: log in, ask, log in again when the token is gone."""

from __future__ import annotations

import contextlib
import re
import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from certrotd.adapters.vault import errors
from certrotd.adapters.vault.auth import Login, login_of, read_secret
from certrotd.adapters.vault.errors import Purpose
from certrotd.adapters.vault.retry import Retrying
from certrotd.adapters.vault.settings import TokenFileAuth
from certrotd.adapters.vault.transport import Transport
from certrotd.core.errors import CertrotdError, IssuerRefused, IssuerUnavailable
from certrotd.core.model import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from certrotd.adapters.vault.settings import VaultConnection
    from certrotd.adapters.vault.transport import Reply
    from certrotd.ports import Clock, Log

FRESH = 0.9
"""Share of a token's lease after which it is replaced."""
REFUSAL_KEPT = 60.0
"""Seconds in which a refused credential is not offered again: Vault locks a role out after five."""
FAREWELL = timedelta(seconds=3)
"""Time limit for giving the token back."""
_FORBIDDEN = 403
_LONGEST_LEASE = 10**9
_COMMUNITY = re.compile(r"[01]\.\d+\.\d+")
"""Versions of servers too old to say whether they are Enterprise; OpenBao began with 2."""


@dataclass(frozen=True, slots=True)
class _Token:
    """A token, and when (monotonic) it is to be replaced; None: when it is refused."""

    secret: Secret
    stale_at: float | None = None


class VaultSession:
    """Shared by all issuers of one server; safe for several threads."""

    def __init__(
        self, connection: VaultConnection, clock: Clock, log: Log, stop: threading.Event
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._transport = Transport(connection, clock)
        self._retrying = Retrying(clock, log, stop, connection.address)
        self._logging_in = threading.Lock()
        self._token: _Token | None = None
        self._unwrapped: tuple[Secret, Secret] | None = None
        self._refusal: tuple[Login, float, IssuerRefused] | None = None
        self._keep_token = isinstance(connection.auth, TokenFileAuth)

    def purpose(self, what: str, path: str, hints: Mapping[int, str] | None = None) -> Purpose:
        """Describe a request to this server."""
        return Purpose(
            what=what,
            path=path,
            server=self._connection.address,
            namespace=self._connection.namespace,
            hints=hints or {},
        )

    def write(self, purpose: Purpose, body: Mapping[str, Any]) -> Reply:
        """POST with a token, logging in where needed, trying again where that can help.

        Raises:
            Interrupted: the process was asked to stop.
            IssuerUnavailable: not within the deadline.
            IssuerRefused: the server said no.
        """
        ends, costly = self._ends(), replace(purpose, costly=True)

        def post(token: Secret) -> Reply:
            return self._transport.post(costly, body, ends, token=token)

        return self._retrying.run(lambda: self._authorized(costly, post, ends), ends, purpose.what)

    def read(self, purpose: Purpose) -> Reply:
        """GET with a token; raises as `write` does."""
        ends = self._ends()

        def get(token: Secret) -> Reply:
            return self._transport.get(purpose, ends, token=token)

        return self._retrying.run(lambda: self._authorized(purpose, get, ends), ends, purpose.what)

    def health(self) -> Reply:
        """Ask `sys/health`, which needs no token; the answer of every state is returned.

        Raises:
            Interrupted: the process was asked to stop.
            IssuerUnavailable: not within the deadline.
            IssuerRefused: no Vault answers there.
        """
        ends = self._ends()
        return self._retrying.run(lambda: self._health(ends), ends, "ask how it is")

    def _health(self, ends: float) -> Reply:
        # Outside of any namespace: health is the server's own.
        purpose = replace(self.purpose("ask how it is", "sys/health"), namespace=None)
        reply = self._transport.get(purpose, ends)
        if "sealed" in reply.body:
            return reply
        if not reply.ok:
            raise reply.failure()
        raise errors.wrong_shape(purpose, "the answer is no health report")

    def keep_token(self) -> None:
        """Do not revoke the token at the end: leases hang on it, which would end with it."""
        self._keep_token = True

    def close(self) -> None:
        """Give the own token back, as well as that goes, and close all connections."""
        token, self._token = self._token, None
        if token and not self._keep_token:
            purpose = self.purpose("revoke the token", "auth/token/revoke-self")
            ends = self._clock.monotonic() + FAREWELL.total_seconds()
            # If it fails the token ends with its lease.
            with contextlib.suppress(CertrotdError):
                self._transport.post(purpose, {}, ends, token=token.secret)
        self._transport.close()

    def _ends(self) -> float:
        return self._clock.monotonic() + self._connection.deadline.total_seconds()

    def _authorized(self, purpose: Purpose, call: Callable[[Secret], Reply], ends: float) -> Reply:
        """One try with a token; if the token turns out to be gone, one more with a new one."""
        token = self._valid_token(ends)
        reply = call(token.secret)
        if reply.status == _FORBIDDEN and self._is_gone(token, ends):
            self._drop(token)
            renewed = self._valid_token(ends)
            if renewed.secret == token.secret:
                raise IssuerRefused(
                    f"{purpose}: the token is not valid, or not any more",
                    hint=self._token_hint(),
                    status=_FORBIDDEN,
                )
            reply = call(renewed.secret)
        if reply.ok:
            return reply
        raise reply.failure()

    def _token_hint(self) -> str:
        auth = self._connection.auth
        path = auth.path if isinstance(auth, TokenFileAuth) else "the token"
        return f"whoever keeps {path} fresh must write a new one"

    def _is_gone(self, token: _Token, ends: float) -> bool:
        """Whether the server knows the token no more, as against: forbids what was asked."""
        purpose = self.purpose("look the token up", "auth/token/lookup-self")
        return self._transport.get(purpose, ends, token=token.secret).status == _FORBIDDEN

    def _drop(self, token: _Token) -> None:
        with self._logging_in:
            if self._token is token:
                self._token = None

    def _valid_token(self, ends: float) -> _Token:
        """Return the token, logging in if there is none or its lease is about to end."""
        if not self._logging_in.acquire(timeout=max(ends - self._clock.monotonic(), 0)):
            raise IssuerUnavailable(
                f"log in: {self._connection.address}: no time is left, another thread is at it"
            )
        try:
            token, now = self._token, self._clock.monotonic()
            if token is None or (token.stale_at is not None and now >= token.stale_at):
                self._token = token = self._log_in(ends)
            return token
        finally:
            self._logging_in.release()

    def _insist_on_namespaces(self, ends: float) -> None:
        """Refuse a server that has none: it ignores the header and does the work at its root."""
        reply = self._health(ends)
        version = reply.purpose.clean(str(reply.body.get("version")))
        community = reply.body.get("enterprise", _COMMUNITY.fullmatch(version) is None) is False
        if community:
            raise IssuerRefused(
                f"{self._connection.address} has no namespaces: Vault {version} Community Edition",
                hint="leave `namespace` out; OpenBao and Vault Enterprise have them",
            )

    def _log_in(self, ends: float) -> _Token:
        if self._connection.namespace is not None:
            self._insist_on_namespaces(ends)
        login = login_of(self._connection.auth, lambda file, mount: self._unwrap(file, mount, ends))
        if isinstance(login, Secret):
            return _Token(login)
        if self._refusal:
            refused, until, error = self._refusal
            if refused == login and self._clock.monotonic() < until:
                raise IssuerRefused(f"{error}", hint=error.hint, status=error.status)
        mounted = f"is an auth method mounted at {login.path.removesuffix('/login')}?"
        hints = {400: login.hint, 403: f"{login.hint}; {mounted}", 404: mounted}
        purpose = replace(self.purpose("log in", login.path, hints), secrets=login.texts())
        try:
            reply = self._transport.post(purpose, login.body(), ends, pair=login.pair)
            token = self._token_in(reply)
        except IssuerRefused as e:
            if e.status is not None:
                self._refusal = (login, self._clock.monotonic() + REFUSAL_KEPT, e)
            raise
        self._refusal = None
        return token

    def _token_in(self, reply: Reply) -> _Token:
        if not reply.ok:
            raise reply.failure()
        auth = reply.body.get("auth")
        text = auth.get("client_token") if isinstance(auth, dict) else None
        lease = auth.get("lease_duration") if isinstance(auth, dict) else None
        if not isinstance(text, str) or not text.isascii() or not isinstance(lease, int):
            raise errors.wrong_shape(reply.purpose, "there is no token in the answer")
        # A lease of 0 does not end.
        stale_at = self._clock.monotonic() + FRESH * min(lease, _LONGEST_LEASE) if lease else None
        return _Token(Secret(text.encode()), stale_at)

    def _unwrap(self, file: str, mount: str, ends: float) -> Secret:
        """Return the secret-id behind a wrapping token; kept, because the token works only once."""
        try:
            wrapping = read_secret(file, "wrapping token")
        except IssuerRefused:
            if self._unwrapped is None:
                raise
            return self._unwrapped[1]
        if self._unwrapped and self._unwrapped[0] == wrapping:
            return self._unwrapped[1]
        text = wrapping.reveal().decode("ascii")
        what = f"unwrap the secret-id with the token in {file}"
        used = (
            "it was used already, or has expired. If it was not certrotd that used it, somebody"
            f" else has the secret-id: destroy it. Then: vault write -wrap-ttl=1h -f"
            f" auth/{mount}/role/ROLE/secret-id"
        )
        lookup = replace(
            self.purpose(what, "sys/wrapping/lookup", {400: used, 403: used}), secrets=(text,)
        )
        origin = self._transport.post(lookup, {"token": text}, ends).data().get("creation_path")
        if not _makes_secret_ids(origin, mount):
            raise IssuerRefused(
                f"{lookup}: the token was made at {lookup.clean(str(origin))}, not for a secret-id"
                f" of auth/{mount}",
                hint="somebody may have put another token in its place: find out, make a new one",
            )
        purpose = replace(lookup, path="sys/wrapping/unwrap")
        secret_id = self._transport.post(purpose, {}, ends, token=wrapping).data().get("secret_id")
        if not isinstance(secret_id, str) or not secret_id.isascii():
            raise errors.wrong_shape(purpose, "there is no secret_id in the answer")
        self._unwrapped = (wrapping, Secret(secret_id.encode()))
        return self._unwrapped[1]


def _makes_secret_ids(path: object, mount: str) -> bool:
    """Whether a wrapping token comes from the only places that wrap secret-ids of a mount."""
    return (
        isinstance(path, str)
        and path.startswith(f"auth/{mount}/role/")
        and path.endswith(("/secret-id", "/custom-secret-id"))
    )
