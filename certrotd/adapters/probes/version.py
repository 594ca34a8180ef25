"""What a running process says about itself over TLS: its version, its loopback certificate."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.adapters.probes.asking import OK, NoAnswer, get, identified, refused
from certrotd.adapters.probes.connection import TIMEOUT, Unusable, excerpt, told
from certrotd.adapters.probes.tls import served_leaf
from certrotd.core.model import RuntimeFacts

if TYPE_CHECKING:
    from certrotd.core.model import Output

METRICS = 8 * 1024 * 1024
"""How much of an answer is read, in bytes: the build's info stands in the middle of /metrics."""
_JSON = ("gitVersion", "etcdserver")
_METRIC = re.compile(
    r"^(?:kubernetes_build_info\{[^}\n]*\bgit_version|etcd_server_version\{[^}\n]*\bserver_version)"
    r'="([^"\n]+)"',
    re.MULTILINE,
)
_LOOPBACK = "apiserver-loopback-client"


@dataclass(frozen=True, slots=True)
class HttpVersion:
    """The version told at `url`: JSON as at `/version` of Kubernetes and etcd, or metrics.

    `ca_file` is what the server's certificate must build to, `client` the outputs of a pair to
    present.
    """

    url: str
    ca_file: str
    client: tuple[Output, ...] | None = None
    timeout: float = TIMEOUT

    def read(self) -> RuntimeFacts:
        """Ask once."""
        try:
            context = identified(self.ca_file, self.client)
            answer = get(self.url, context, self.timeout, limit=METRICS)
        except (Unusable, NoAnswer) as e:
            return RuntimeFacts(detail=f"{self.url}: {e}")
        if answer.status != OK:
            return RuntimeFacts(detail=f"{self.url}: {refused(answer, 'get it')}")
        version = _in_json(answer.body) or _in_metrics(answer.body)
        if version is None:
            return RuntimeFacts(detail=f"{self.url}: the answer tells no version")
        return RuntimeFacts(version=version, detail=f"{version} (GET {self.url})")


@dataclass(frozen=True, slots=True)
class LoopbackCertificate:
    """The certificate that kube-apiserver at `address` makes at its start and keeps in memory.

    It serves it to whoever asks for it by name. It talks to itself over it, so a server that
    outlives it fails.
    """

    address: str
    timeout: float = TIMEOUT

    def read(self) -> RuntimeFacts:
        """Make one handshake."""
        try:
            leaf = served_leaf(self.address, _LOOPBACK, self.timeout)
        except (OSError, ValueError) as e:
            why = told(e, self.timeout) if isinstance(e, OSError) else str(e)
            return RuntimeFacts(detail=f"{self.address}: {why}")
        if not leaf.common_name.startswith(f"{_LOOPBACK}@"):
            shown = f"{self.address}: presents {leaf.subject}, not its loopback certificate"
            return RuntimeFacts(detail=shown)
        return RuntimeFacts(loopback_ends=leaf.not_after)


def _in_json(body: str) -> str | None:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    return next((excerpt(str(said[key])) for key in _JSON if said.get(key)), None)


def _in_metrics(body: str) -> str | None:
    match = _METRIC.search(body)
    return excerpt(match[1]) if match else None
