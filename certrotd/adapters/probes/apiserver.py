"""The health of kube-apiserver."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from certrotd.adapters.probes.asking import (
    FORBIDDEN,
    OK,
    UNAUTHORIZED,
    Answer,
    NoAnswer,
    get,
    identified,
    refused,
)
from certrotd.adapters.probes.connection import TIMEOUT, Unusable
from certrotd.core.model import Evidence

if TYPE_CHECKING:
    from certrotd.core.model import Output

AT_ONCE = 8
"""How many resources are listed at once."""
_LISTING = "?resourceVersion=0&limit=1&labelSelector=certrotd.invalid%2Fnone"
"""From the watch cache, and short: nothing has this label. The selector is what makes the server
insist on its cache: a list with a limit and none goes to etcd while the cache is not filled."""
_BUSY = 429


@dataclass(frozen=True, slots=True)
class ApiserverGate:
    """kube-apiserver at `url` is ready, check by check, and lists `resources` from its cache.

    `/readyz?verbose` answers 200 and names no failing check. The server asks its etcd about once a
    second and tells what it heard last in between, which is one thing that a settle time is for.
    From 1.36 on one of the checks waits for all watch caches after the start, but no longer than a
    minute, and does not look again when a cache is lost later. So paths in `resources`
    (`/api/v1/nodes`) are listed too: a server of 1.31 and newer answers 429 while it fills their
    cache; an older one asks etcd then, and its answer says nothing about the cache.

    `ca_file` is what the server's certificate must build to, `client` the outputs of the pair to
    present; without one the health check must be open to everybody.
    """

    url: str
    ca_file: str
    client: tuple[Output, ...] | None = None
    resources: tuple[str, ...] = ()
    timeout: float = TIMEOUT

    def check(self) -> Evidence:
        """Ask for everything at once."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # 10 ms

        try:
            context = identified(self.ca_file, self.client)
        except Unusable as e:
            return self._evidence((str(e),))
        ask = partial(get, context=context, timeout=self.timeout)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            ready = pool.submit(ask, f"{self.url}/readyz?verbose")
            lists = {
                each: pool.submit(ask, f"{self.url}{each}{_LISTING}") for each in self.resources
            }
            try:
                faults = [_unready(ready.result())]
            except NoAnswer as e:
                return self._evidence((str(e),), reachable=e.reachable)
            for path, listed in lists.items():
                try:
                    faults.append(_unlisted(path, listed.result()))
                except NoAnswer as e:
                    faults.append(f"{path}: {e}")
        return self._evidence(tuple(filter(None, faults)))

    def _evidence(self, faults: tuple[str, ...], *, reachable: bool = True) -> Evidence:
        listed = f", lists {', '.join(self.resources)}" if self.resources else ""
        return Evidence(
            source=f"kube-apiserver {self.url}",
            holds=not faults,
            detail=f"{self.url}: {'; '.join(faults) or f'ready{listed}'}",
            reachable=reachable,
        )


def _unready(answer: Answer) -> str:
    """Say why a server is not ready; empty if it is."""
    checks = [line for line in answer.body.splitlines() if line.startswith(("[+]", "[-]"))]
    failing = any(line.startswith("[-]") for line in checks)
    if answer.status == OK and checks and not failing:
        return ""
    if answer.status in (UNAUTHORIZED, FORBIDDEN):
        return f"/readyz: {refused(answer, 'get it')}"
    if answer.status == OK and not checks:
        return "/readyz: the answer names no checks; is this kube-apiserver?"
    return f"/readyz: {answer}"


def _unlisted(path: str, answer: Answer) -> str:
    """Say why a resource was not listed from the cache; empty if it was."""
    if answer.status == OK:
        return ""
    if answer.status == _BUSY:
        return f"{path}: its watch cache is not filled yet ({answer})"
    return f"{path}: {refused(answer, 'list it')}"
