"""Exceptions of hvac, requests, urllib3, ssl and the system to certrotd's own.

Their own texts are not repeated and they are not chained: they quote headers and bodies, which
hold tokens. Loaded when one is raised, as it loads all of these libraries.
"""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import TYPE_CHECKING

import hvac.exceptions as vault
import requests.exceptions as http
import urllib3.exceptions as wire

from certrotd.adapters.vault.errors import Retriable, from_status, wrong_shape
from certrotd.core.errors import IssuerRefused, IssuerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from certrotd.adapters.vault.errors import Purpose
    from certrotd.core.errors import CertrotdError

_CUT = (RemoteDisconnected, IncompleteRead)
_BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


def from_exception(purpose: Purpose, error: Exception) -> CertrotdError:
    """Translate what hvac, requests, urllib3, ssl or the system raised."""
    if known := _tls_problem(purpose, error) or _http_problem(purpose, error):
        return known
    for kind in type(error).__mro__:
        match exceptions().get(kind):
            case None:
                continue
            case int(status):
                return from_status(purpose, status, type(error).__name__)
            case Retry():
                return Retriable(
                    f"{purpose}: {_cause(error)}",
                    hint="is it up, and reachable?",
                    unsure=purpose.costly and not _unsent(error),
                )
            case GiveUp(hint):
                return IssuerUnavailable(f"{purpose}: {_cause(error)}", hint=hint)
            case Refuse(problem, hint):
                return IssuerRefused(f"{purpose}: {problem}", hint=hint)
    return IssuerUnavailable(f"{purpose}: {_cause(error)}")


@dataclass(frozen=True, slots=True)
class Retry:
    """The connection failed: try again."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It may have been done, or cannot be now: not again within this request."""

    hint: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Trying again cannot help."""

    problem: str
    hint: str


@functools.cache
def exceptions() -> Mapping[type[BaseException], int | Retry | GiveUp | Refuse]:
    """Return what every exception of the libraries means; a number is an HTTP status."""
    address = Refuse("the address cannot be used", "`address` must be https://host:port")
    answer = Refuse("the answer cannot be read", "is `address` a Vault or OpenBao server?")
    content = Refuse("a token or path holds characters that HTTP forbids", "look at the files")
    ours = Refuse("the request could not be made", "please report this as a defect of certrotd")
    slow = GiveUp("no answer within `read_timeout`; it may have been signed nevertheless")
    return {
        vault.InvalidRequest: 400,
        vault.Unauthorized: 401,
        vault.Forbidden: 403,
        vault.InvalidPath: 404,
        vault.UnsupportedOperation: 405,
        vault.PreconditionFailed: 412,
        vault.RateLimitExceeded: 429,
        vault.InternalServerError: 500,
        vault.VaultNotInitialized: 501,
        vault.BadGateway: 502,
        vault.VaultDown: 503,
        vault.UnexpectedError: GiveUp("it answered with a status that hvac does not know"),
        vault.ParamValidationError: ours,
        vault.VaultError: GiveUp(""),
        http.ConnectionError: Retry(),
        http.ConnectTimeout: Retry(),
        http.ProxyError: Retry(),
        http.SSLError: Retry(),
        http.ChunkedEncodingError: Retry(),
        http.RetryError: Retry(),
        http.Timeout: slow,
        http.ReadTimeout: slow,
        http.InvalidURL: address,
        http.InvalidProxyURL: address,
        http.InvalidSchema: address,
        http.MissingSchema: address,
        http.URLRequired: address,
        http.InvalidHeader: content,
        http.InvalidJSONError: answer,
        http.JSONDecodeError: answer,
        http.ContentDecodingError: answer,
        http.HTTPError: answer,
        http.TooManyRedirects: answer,
        http.StreamConsumedError: ours,
        http.UnrewindableBodyError: ours,
        http.RequestException: GiveUp(""),
        wire.ReadTimeoutError: slow,
        wire.DecodeError: answer,
        wire.HTTPError: Retry(),
        OSError: GiveUp(""),
    }


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Walk to the root of an error: what caused it, and what libraries pass on as arguments."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        passed = [each for each in error.args if isinstance(each, BaseException)]
        reason = getattr(error, "reason", None)
        if isinstance(reason, BaseException):
            passed.insert(0, reason)
        error = next(iter(passed), None) or error.__cause__ or error.__context__


def _unsent(error: BaseException) -> bool:
    """Whether there was no connection at all, so that nothing can have been done."""
    never = (wire.NewConnectionError, wire.ConnectTimeoutError)
    return any(isinstance(each, never) for each in _chain(error))


def _cause(error: BaseException) -> str:
    """Describe the root in the system's words, or by its class; never by a library's text."""
    for each in reversed(list(_chain(error))):
        if isinstance(each, OSError) and each.strerror and not isinstance(each, ssl.SSLError):
            return each.strerror
    return type(error).__name__


def _http_problem(purpose: Purpose, error: Exception) -> CertrotdError | None:
    """Tell an answer that breaks HTTP from one that was broken off."""
    for each in _chain(error):
        if isinstance(each, HTTPException) and not isinstance(each, _CUT):
            return wrong_shape(purpose, "the answer is no HTTP, or its headers are too long")
    return None


def _tls_problem(purpose: Purpose, error: Exception) -> CertrotdError | None:
    """Tell a TLS handshake that can never succeed from one that was broken off."""
    found = next((each for each in _chain(error) if isinstance(each, ssl.SSLError)), None)
    if found is None or isinstance(found, _BROKEN_OFF):
        return None
    if isinstance(found, ssl.SSLCertVerificationError):
        return IssuerRefused(
            f"{purpose}: its TLS certificate is not trusted: {found.verify_message}",
            hint="`ca_file` must hold the CA that signed it, and `address` a name it is for",
        )
    reason = found.reason or type(found).__name__
    return IssuerRefused(
        f"{purpose}: no TLS connection: {reason.lower().replace('_', ' ')}",
        hint="is it an HTTPS port, is `ca_file` PEM, and does it want a client certificate?",
    )
