"""What a guard looks at besides requests: who may do what, bootstrap tokens, nodes."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from certrotd.adapters.kubernetes.connection import LARGEST_LIST
from certrotd.core.errors import ApiUnavailable
from certrotd.core.model.kubelets import BootstrapToken, KubeletEndpoint

if TYPE_CHECKING:
    from certrotd.adapters.kubernetes.connection import ApiConnection, Json

_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_SECRETS = "/api/v1/namespaces/kube-system/secrets"  # a path
_TOKEN = "bootstrap.kubernetes.io/token"  # noqa: S105  # a type
_PAGE = "500"
_NODES = "100"
"""How many nodes are read at once: each has over 10 KiB."""


class ClusterInspection:
    """Only looks."""

    def __init__(self, connection: ApiConnection) -> None:
        self._connection = connection

    def may_create(self, subresource: str, user: str, groups: tuple[str, ...]) -> bool:
        """Ask whether somebody may create `certificatesigningrequests` or a subresource of it.

        Raises:
            ApiUnavailable, ApiRefused: it was not answered.
        """
        attributes = {
            "group": "certificates.k8s.io",
            "resource": "certificatesigningrequests",
            "subresource": subresource,
            "verb": "create",
        }
        spec = {"user": user, "groups": list(groups), "resourceAttributes": attributes}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": spec,
        }
        answer = self._connection.call("POST", _REVIEWS, body=body)
        return bool((answer.get("status") or {}).get("allowed"))

    def tokens(self) -> tuple[BootstrapToken, ...]:
        """Return the bootstrap tokens there are, without what is secret about them.

        Raises:
            ApiUnavailable, ApiRefused: they could not be read.
        """
        query = {"fieldSelector": f"type={_TOKEN}", "limit": _PAGE}
        answer = self._connection.call("GET", _SECRETS, query=query, largest=LARGEST_LIST)
        try:
            return tuple(_token(each["data"]) for each in answer["items"])
        except (KeyError, TypeError, ValueError, binascii.Error) as e:
            raise ApiUnavailable(f"kube-apiserver sent no bootstrap token: {e!r}") from None

    def kubelets(self) -> tuple[KubeletEndpoint, ...]:
        """Return where kubelets serve; a node that never said it is left out.

        Raises:
            ApiUnavailable, ApiRefused: they could not be read.
        """
        found: list[KubeletEndpoint | None] = []
        query = {"limit": _NODES}
        while True:
            page = self._connection.call("GET", "/api/v1/nodes", query=query, largest=LARGEST_LIST)
            try:
                found += [_endpoint(each) for each in page["items"]]
            except (KeyError, TypeError, ValueError) as e:
                raise ApiUnavailable(f"kube-apiserver sent no Nodes: {e!r}") from e
            following = page["metadata"].get("continue")
            if not following:
                return tuple(each for each in found if each)
            query = {"limit": _NODES, "continue": following}


def _endpoint(node: Json) -> KubeletEndpoint | None:
    status = node.get("status") or {}
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
    addresses = {each["type"]: each["address"] for each in status.get("addresses") or ()}
    address = addresses.get("InternalIP") or addresses.get("Hostname")
    if not port or not address:
        return None
    return KubeletEndpoint(node=node["metadata"]["name"], address=address, port=int(port))


def _token(data: Json) -> BootstrapToken:
    """Read all but the token's secret."""

    def text(key: str) -> str:
        return base64.b64decode(data.get(key, "")).decode()

    ends = text("expiration")
    return BootstrapToken(
        name=text("token-id"),
        ends=datetime.fromisoformat(ends).astimezone(UTC) if ends else None,
        authenticates=text("usage-bootstrap-authentication") == "true",
        groups=tuple(each for each in text("auth-extra-groups").split(",") if each),
    )
