"""HTTPS with a client certificate, and the Kubernetes API by plain JSON; reads files anew."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TIMEOUT = 15.0


class ApiAnswered(Exception):
    """The API server refused; `status` is the HTTP status."""

    def __init__(self, path: str, status: int, reason: str) -> None:
        super().__init__(f"{path}: HTTP {status}: {reason}")
        self.status = status


def client_context(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS that trusts one CA and presents this pair."""
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)
    return context


def call(
    url: str, context: ssl.SSLContext, method: str = "GET", body: bytes | None = None
) -> tuple[int, bytes]:
    """One request on a fresh connection; returns status and content."""
    parts = urlsplit(url)
    connection = http.client.HTTPSConnection(
        parts.hostname or "", parts.port, timeout=_TIMEOUT, context=context
    )
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


class KubeClient:
    """Calls the API server that a kubeconfig names, as the user that it holds.

    `call` makes one request as the function of this name does, perhaps from elsewhere; `root` is
    where absolute paths in the kubeconfig begin.
    """

    def __init__(
        self,
        kubeconfig: Path,
        call: Callable[..., tuple[int, bytes]] = call,
        *,
        root: Path = Path("/"),
    ) -> None:
        self._call = call
        content = yaml.safe_load(kubeconfig.read_text())
        cluster = content["clusters"][0]["cluster"]
        user = content["users"][0]["user"]
        self.server: str = cluster["server"]
        with tempfile.TemporaryDirectory(prefix="certrotd-testbed-") as folder:
            directory = Path(folder)
            self._context = client_context(
                _file(cluster, "certificate-authority", (kubeconfig.parent, root), directory),
                _file(user, "client-certificate", (kubeconfig.parent, root), directory),
                _file(user, "client-key", (kubeconfig.parent, root), directory),
            )

    def connection(self, timeout: float) -> http.client.HTTPSConnection:
        """A connection of its own to the API server, not yet opened."""
        parts = urlsplit(self.server)
        return http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=timeout, context=self._context
        )

    def status(self, path: str) -> int:
        """HTTP status of a GET, e.g. of `/readyz`."""
        return self.status_of(self.server + path)

    def status_of(self, url: str) -> int:
        """HTTP status of a GET to any server of the cluster's CA, with the same identity."""
        return self._call(url, self._context)[0]

    def request(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        """One call with a JSON answer.

        Raises:
            ApiAnswered: with a status of 400 or more.
        """
        sent = None if body is None else json.dumps(body).encode()
        status, content = self._call(self.server + path, self._context, method, sent)
        answer: dict[str, Any] = json.loads(content)
        if status >= http.client.BAD_REQUEST:
            raise ApiAnswered(path, status, str(answer.get("message", "")))
        return answer

    def create_config_map(self, name: str, data: Mapping[str, str]) -> dict[str, Any]:
        """In the default namespace."""
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
        return self.request("POST", "/api/v1/namespaces/default/configmaps", body)

    def kinds(self, group_version: str) -> set[str]:
        """The kinds that a path of a group and version serves; none if there is no such path."""
        if self.status(group_version) != http.client.OK:
            return set()
        listed = self.request("GET", group_version)
        return {each["kind"] for each in listed["resources"]}

    def service_account_token(self, name: str, namespace: str = "default") -> str:
        """A token of a service account (TokenRequest API)."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        return str(self.request("POST", path, body)["status"]["token"])


def _file(section: Mapping[str, str], name: str, bases: tuple[Path, Path], directory: Path) -> Path:
    """The named file, relative to the first base or absolute below the second, or embedded data."""
    if f"{name}-data" not in section:
        relative, absolute = bases
        named = section[name]
        return absolute / named.lstrip("/") if named.startswith("/") else relative / named
    path = directory / name
    path.touch(mode=0o600)
    path.write_bytes(base64.b64decode(section[f"{name}-data"]))
    return path
