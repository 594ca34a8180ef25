"""The `vault` issuer: a PKI secrets engine of Vault or OpenBao signs what was made here."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from certrotd.adapters.vault import errors
from certrotd.core.errors import IssuerRefused
from certrotd.core.model import Answer, Secret
from certrotd.core.x509 import key_pem, load_key, split_pem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certrotd.adapters.vault.errors import Purpose
    from certrotd.adapters.vault.session import VaultSession
    from certrotd.adapters.vault.transport import Reply
    from certrotd.core.model import CertificateSpec, SigningRequest

_LONGEST_CHAIN = 20
_MOST_WARNINGS = 20
_TWICE = 'field was provided but the role is set with "use_csr_'
_LEASED = (
    "the role makes leases: Vault revokes this certificate when the token that asked for it ends; "
    "set generate_lease=false"
)


class VaultIssuer:
    """Signs at `mount` over a shared session; neither construction nor `anchors` needs hvac.

    With `endpoint` "issue" Vault makes the key. `issuer_ref` names an issuer of the mount.
    """

    def __init__(
        self,
        session: VaultSession,
        *,
        mount: str,
        endpoint: Literal["sign", "issue"] = "sign",
        issuer_ref: str | None = None,
        anchors_file: str,
    ) -> None:
        self._session = session
        self._mount = mount.strip("/")
        self._endpoint = endpoint
        self._issuer_ref = issuer_ref
        self._anchors_file = anchors_file

    def sign(self, request: SigningRequest) -> Answer:
        """Have the request signed; the specification's names and time to live are asked for.

        Raises:
            Interrupted: the process was asked to stop.
            IssuerUnavailable: Vault cannot be reached, is sealed or overloaded.
            IssuerRefused: Vault said no, or its answer is none.
        """
        spec = request.spec
        purpose = self._purpose(spec)
        body = _names(spec) | {"ttl": f"{int(spec.ttl.total_seconds())}s", "format": "pem"}
        if self._endpoint == "sign":
            body["csr"] = request.csr_pem.decode("ascii")
        else:
            body["private_key_format"] = "pkcs8"
        reply = self._session.write(purpose, body)
        data = reply.data()
        warnings = _warnings(reply)
        if reply.body.get("lease_id"):
            self._session.keep_token()
            warnings += (_LEASED,)
        return Answer(
            chain=_chain(purpose, data), private_key=self._key(purpose, data), warnings=warnings
        )

    def anchors(self) -> tuple[bytes, ...]:
        """Read the pinned trust anchors, PEM; never what Vault says they are.

        Raises:
            IssuerRefused: the file cannot be read or holds no certificate.
        """
        hint = "the issuer's `trust_anchors` must hold the pinned CA certificates, PEM"
        try:
            return split_pem(Path(self._anchors_file).read_bytes())
        except OSError as e:
            raise IssuerRefused(
                f"cannot read the trust anchors {self._anchors_file}: {e.strerror}", hint=hint
            ) from e
        except ValueError as e:
            raise IssuerRefused(f"trust anchors {self._anchors_file}: {e}", hint=hint) from e

    def time(self) -> datetime | None:
        """Ask the server for its clock; a standby's is as good as any.

        Raises:
            Interrupted: the process was asked to stop.
            IssuerUnavailable: it cannot be reached, is sealed or not initialized.
            IssuerRefused: no Vault answers at its address.
        """
        reply = self._session.health()
        if reply.body.get("initialized") is False:
            raise errors.from_status(reply.purpose, 501, "Vault is not initialized")
        if reply.body.get("sealed"):
            raise errors.sealed(reply.purpose)
        seconds = reply.body.get("server_time_utc")
        try:
            if isinstance(seconds, int):
                return datetime.fromtimestamp(seconds, UTC)
            return parsedate_to_datetime(reply.headers.get("Date", "")).astimezone(UTC)
        except (ValueError, OverflowError, OSError) as e:
            raise errors.wrong_shape(reply.purpose, "there is no time in the answer") from e

    def _purpose(self, spec: CertificateSpec) -> Purpose:
        role = spec.role or spec.name
        quoted = quote(role, safe="")
        at = f"/issuer/{quote(self._issuer_ref, safe='')}" if self._issuer_ref else ""
        path = f"{quote(self._mount)}{at}/{self._endpoint}/{quoted}"
        mounted = f"is a PKI secrets engine mounted at {self._mount}? `vault secrets list`"
        return self._session.purpose(
            f"have {spec.name} signed with role {role}",
            path,
            {
                400: f"compare with the role: `vault read {self._mount}/roles/{role}`",
                403: f'the identity\'s policy needs: path "{path}" {{ capabilities = ["update"] }}',
                500: f"the server's log tells more; does the issuer exist? `vault list"
                f" {self._mount}/issuers`",
                **dict.fromkeys((204, 404, 405), mounted),
            },
        )

    def _key(self, purpose: Purpose, data: Mapping[str, Any]) -> Secret | None:
        """Return the key where Vault was asked to make it; elsewhere there must be none."""
        found = data.get("private_key")
        if self._endpoint == "sign":
            if found:
                raise errors.wrong_shape(purpose, "a private key came back, and none was asked for")
            return None
        if not isinstance(found, str):
            raise errors.wrong_shape(purpose, "there is no private key in the answer")
        try:
            return key_pem(load_key(Secret(found.encode())))
        except ValueError as e:
            raise errors.wrong_shape(purpose, f"the private key is {e}") from e


def _names(spec: CertificateSpec) -> dict[str, Any]:
    """Repeat the CSR's names, for roles that look at the request and not at the CSR."""
    return {
        "common_name": spec.common_name,
        "alt_names": ",".join(spec.dns_names),
        "ip_sans": [str(each) for each in spec.ip_addresses],
        "uri_sans": list(spec.uris),
        "exclude_cn_from_sans": True,
    }


def _warnings(reply: Reply) -> tuple[str, ...]:
    """Return what Vault warns of, without what it always says of names that come twice."""
    found = reply.body.get("warnings")
    texts = [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
    said = [reply.purpose.clean(each) for each in texts if _TWICE not in each]
    return tuple(said[:_MOST_WARNINGS])


def _chain(purpose: Purpose, data: Mapping[str, Any]) -> tuple[bytes, ...]:
    """Return leaf and authorities, each once, as single PEMs."""
    authorities = data.get("ca_chain") or [data.get("issuing_ca") or ""]
    if not isinstance(authorities, list) or len(authorities) > _LONGEST_CHAIN:
        raise errors.wrong_shape(purpose, "ca_chain is no list of certificates")
    parts = [data.get("certificate"), *(each for each in authorities if each)]
    try:
        certificates = [each for part in parts for each in split_pem(_encoded(part))]
    except ValueError as e:
        raise errors.wrong_shape(purpose, f"the certificate or its chain: {e}") from e
    return tuple(dict.fromkeys(certificates))


def _encoded(part: object) -> bytes:
    if not isinstance(part, str):
        raise ValueError("not text")  # noqa: TRY004  # of the answer, not of a caller's argument
    return part.encode()
