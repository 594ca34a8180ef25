"""The administrator's side of a Vault: its HTTP API, without certrotd's code and without hvac."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROLE_DEFAULTS: Mapping[str, object] = {
    "allow_any_name": True,
    "enforce_hostnames": False,
    "allow_ip_sans": True,
    "key_type": "ec",
    "key_bits": 256,
    "key_usage": ["DigitalSignature"],
    "no_store": True,  # the way to thousands of signatures per second
    "max_ttl": "720h",
}
"""A role that signs what it is asked to, fast; every field can be overridden."""

_CA_TTL = "8760h"
_TIMEOUT = 30.0


class VaultAnswered(Exception):
    """Vault refused; `status` is the HTTP status, `errors` its reasons."""

    def __init__(self, path: str, status: int, errors: Sequence[str]) -> None:
        super().__init__(f"{path}: HTTP {status}: {'; '.join(errors)}")
        self.status = status
        self.errors = tuple(errors)


@dataclass(frozen=True, slots=True)
class AppRole:
    """What a machine logs in with."""

    role_id: str
    secret_id: str


class VaultClient:
    """Calls with one token (the root token unless told otherwise) to one Vault."""

    def __init__(self, host: str, port: int, ca_pem: bytes, token: str = "") -> None:
        self.host = host
        self.port = port
        self.token = token
        self._tls = ssl.create_default_context(cadata=ca_pem.decode())

    def request(
        self,
        method: str,
        path: str,
        data: Mapping[str, object] | None = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Sequence[int] = (200, 204),
    ) -> tuple[int, dict[str, Any]]:
        """One call to `/v1/<path>`; returns the status and the answer.

        Raises:
            VaultAnswered: with a status that is not in `accept`.
        """
        sent = dict(headers or {}) | {"X-Vault-Request": "true"}
        used = self.token if token is None else token
        if used:
            sent["X-Vault-Token"] = used
        body = None if data is None else json.dumps(data).encode()
        connection = http.client.HTTPSConnection(
            self.host, self.port, timeout=_TIMEOUT, context=self._tls
        )
        try:
            connection.request(method, f"/v1/{path}", body, sent)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        answer = json.loads(content) if content else {}
        if response.status not in accept:
            raise VaultAnswered(path, response.status, answer.get("errors", []))
        return response.status, answer

    def read(self, path: str) -> dict[str, Any]:
        """The `data` of a GET."""
        data: dict[str, Any] = self.request("GET", path)[1].get("data") or {}
        return data

    def write(self, path: str, **fields: object) -> dict[str, Any]:
        """POST; returns the whole answer (`data`, `auth`, `wrap_info`, `warnings`)."""
        return self.request("POST", path, fields)[1]

    def delete(self, path: str) -> None:
        """DELETE."""
        self.request("DELETE", path)

    def list(self, path: str) -> list[str]:
        """The keys under a path; none if there is nothing."""
        status, answer = self.request("LIST", path, accept=(200, 404))
        return list(answer["data"]["keys"]) if status == http.client.OK else []

    # -- PKI

    def enable_pki(
        self, mount: str, common_name: str, ttl: str = _CA_TTL, **fields: object
    ) -> bytes:
        """Mount a PKI engine with a P-256 root inside; returns the CA certificate, PEM."""
        self.write(f"sys/mounts/{mount}", type="pki", config={"max_lease_ttl": ttl})
        asked = {"common_name": common_name, "ttl": ttl, "key_type": "ec", "key_bits": 256}
        answer = self.write(f"{mount}/root/generate/internal", **(asked | fields))
        return str(answer["data"]["certificate"]).strip().encode() + b"\n"

    def enable_intermediate(
        self, mount: str, parent: str, common_name: str, ttl: str = _CA_TTL
    ) -> bytes:
        """Mount a PKI engine whose CA another mount signs; returns the intermediate, PEM."""
        self.write(f"sys/mounts/{mount}", type="pki", config={"max_lease_ttl": ttl})
        asked = {"common_name": common_name, "key_type": "ec", "key_bits": 256}
        csr = self.write(f"{mount}/intermediate/generate/internal", **asked)["data"]["csr"]
        signed = self.write(f"{parent}/root/sign-intermediate", csr=csr, ttl=ttl)["data"]
        pem = str(signed["certificate"]).strip() + "\n"
        self.write(f"{mount}/intermediate/set-signed", certificate=pem + signed["issuing_ca"])
        return pem.encode()

    def define_role(self, mount: str, role: str, **fields: object) -> None:
        """Write a PKI role from ROLE_DEFAULTS and these fields (whole: nothing is kept)."""
        self.write(f"{mount}/roles/{role}", **(dict(ROLE_DEFAULTS) | fields))

    # -- policies and tokens

    def write_policy(self, name: str, rules: str) -> None:
        """Write an ACL policy, HCL or JSON."""
        self.write(f"sys/policies/acl/{name}", policy=rules)

    def create_token(self, policies: Sequence[str] = (), **fields: object) -> str:
        """A token with these policies; root's if none are named."""
        answer = self.write("auth/token/create", policies=list(policies), **fields)
        return str(answer["auth"]["client_token"])

    def revoke_token(self, token: str) -> None:
        """End a token and what came from it."""
        self.write("auth/token/revoke", token=token)

    # -- auth methods

    def enable_auth(self, kind: str, mount: str) -> None:
        """Mount an auth method, unless it is there."""
        mounted: dict[str, Any] = self.read("sys/auth")
        if f"{mount}/" not in mounted:
            self.write(f"sys/auth/{mount}", type=kind)

    def enable_approle(
        self, role: str, policies: Sequence[str], *, mount: str = "approle", **fields: object
    ) -> AppRole:
        """Define an AppRole; returns its role-id and a new secret-id."""
        self.enable_auth("approle", mount)
        self.write(f"auth/{mount}/role/{role}", token_policies=list(policies), **fields)
        role_id = self.read(f"auth/{mount}/role/{role}/role-id")["role_id"]
        return AppRole(role_id, self.new_secret_id(role, mount=mount))

    def new_secret_id(self, role: str, *, mount: str = "approle", **fields: object) -> str:
        """Another secret-id."""
        answer = self.write(f"auth/{mount}/role/{role}/secret-id", **fields)
        return str(answer["data"]["secret_id"])

    def wrapped_secret_id(self, role: str, ttl: str = "5m", *, mount: str = "approle") -> str:
        """A wrapping token that can be unwrapped once, into a secret-id."""
        path = f"auth/{mount}/role/{role}/secret-id"
        answer = self.request("POST", path, {}, headers={"X-Vault-Wrap-TTL": ttl})[1]
        return str(answer["wrap_info"]["token"])

    def enable_certificate_auth(
        self, role: str, ca_pem: bytes, policies: Sequence[str], *, mount: str = "cert"
    ) -> None:
        """Let TLS client certificates of this CA (or this very certificate) log in."""
        self.enable_auth("cert", mount)
        self.write(
            f"auth/{mount}/certs/{role}",
            certificate=ca_pem.decode(),
            token_policies=list(policies),
            display_name=role,
        )

    def enable_jwt_auth(
        self,
        role: str,
        public_key_pem: bytes,
        policies: Sequence[str],
        *,
        audience: str = "vault",
        mount: str = "jwt",
        **fields: object,
    ) -> None:
        """Let JWTs that this key signed log in (claim `sub`); see `tests.testbed.jwt`."""
        self.enable_auth("jwt", mount)
        self.write(f"auth/{mount}/config", jwt_validation_pubkeys=[public_key_pem.decode()])
        role_fields = {
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": [audience],
            "token_policies": list(policies),
        }
        self.write(f"auth/{mount}/role/{role}", **(role_fields | fields))

    def enable_kubernetes_auth(  # noqa: PLR0913  # what a Kubernetes role is made of
        self,
        role: str,
        *,
        api_server: str,
        ca_pem: bytes,
        reviewer_token: str,
        namespace: str,
        service_account: str,
        policies: Sequence[str],
        audience: str = "",
        mount: str = "kubernetes",
    ) -> None:
        """Let a service account of the cluster at this URL log in (Vault asks TokenReview)."""
        self.enable_auth("kubernetes", mount)
        self.write(
            f"auth/{mount}/config",
            kubernetes_host=api_server,
            kubernetes_ca_cert=ca_pem.decode(),
            token_reviewer_jwt=reviewer_token,
            disable_local_ca_jwt=True,
        )
        self.write(
            f"auth/{mount}/role/{role}",
            bound_service_account_names=[service_account],
            bound_service_account_namespaces=[namespace],
            token_policies=list(policies),
            audience=audience,
        )
