"""CertificateSigningRequest objects: certificates.k8s.io/v1."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from certrotd.adapters.kubernetes.connection import LARGEST_LIST, MERGE
from certrotd.core.errors import ApiRefused, ApiUnavailable
from certrotd.core.model.kubelets import Purpose, SubmittedRequest
from certrotd.core.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from certrotd.adapters.kubernetes.connection import ApiConnection, Json
    from certrotd.core.model.kubelets import Verdict

PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
PAGE = 50
"""How many objects are read at once: each may have over a megabyte, whoever made it."""
_SIGNATURE = "digital signature"
_ENCIPHERMENT = "key encipherment"
_USAGES = {Purpose.CLIENT: "client auth", Purpose.SERVING: "server auth"}


class ApiSigningRequests:
    """Requests for the signers of kubelets; all writes are refused if the object has changed."""

    def __init__(self, connection: ApiConnection) -> None:
        self._connection = connection
        self._version: str | None = None

    def submit(
        self,
        name: str,
        purpose: Purpose,
        csr_pem: bytes,
        lifetime: timedelta | None,
        *,
        rsa: bool = False,
    ) -> SubmittedRequest:
        """Create one; RSA keys are asked for with key encipherment, as a kubelet does.

        Raises:
            ApiUnavailable, ApiRefused: it was not created; the status 409 says that there is one.
        """
        usages = [_SIGNATURE, *([_ENCIPHERMENT] if rsa else []), _USAGES[purpose]]
        spec: dict[str, object] = {
            "request": base64.b64encode(csr_pem).decode(),
            "signerName": purpose.value,
            "usages": usages,
        }
        if lifetime is not None:
            spec["expirationSeconds"] = int(lifetime.total_seconds())
        body = _headed({"name": name}) | {"spec": spec}
        return self._read(self._connection.call("POST", PATH, body=body))

    def look(self, name: str) -> SubmittedRequest | None:
        """Return one as it is now; None if it is gone.

        Raises:
            ApiUnavailable, ApiRefused: it could not be read.
        """
        try:
            return self._read(self._connection.call("GET", f"{PATH}/{name}"))
        except ApiRefused as e:
            if e.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def everything(self) -> Iterator[SubmittedRequest]:
        """Yield all there are, page by page.

        Raises:
            ApiUnavailable, ApiRefused: they could not be read.
        """
        for page in self._pages():
            yield from _known(page["items"])

    def stream(self, seconds: float) -> Iterator[SubmittedRequest]:
        """Yield all there are at first, then what happens, for about so many seconds.

        Raises:
            ApiUnavailable, ApiRefused: it was interrupted; the next call goes on.
        """
        if self._version is None:
            version = ""
            for page in self._pages():
                # The first page's: what changes while the others are read comes again.
                version = version or page["metadata"]["resourceVersion"]
                yield from _known(page["items"])
            self._version = version
        query = {"resourceVersion": self._version, "allowWatchBookmarks": "true"}
        try:
            for event in self._connection.watch(PATH, query, seconds):
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield from _known([event["object"]])
                self._version = event["object"]["metadata"]["resourceVersion"]
        except ApiUnavailable as e:
            if e.status != HTTPStatus.GONE:
                raise
            self._version = None  # too old: the next call lists

    def approve(self, request: SubmittedRequest, verdict: Verdict) -> SubmittedRequest:
        """Add the condition Approved.

        Raises:
            ApiUnavailable, ApiRefused: it is not approved; 409: the object has changed.
        """
        return self._rule(request, "Approved", verdict)

    def deny(self, request: SubmittedRequest, verdict: Verdict) -> None:
        """Add the condition Denied.

        Raises:
            ApiUnavailable, ApiRefused: it is not denied; 409: the object has changed.
        """
        self._rule(request, "Denied", verdict)

    def deliver(self, request: SubmittedRequest, chain: tuple[bytes, ...]) -> None:
        """Write the certificate.

        Raises:
            ApiUnavailable, ApiRefused: it is not written; 409: the object has changed.
        """
        pem = b"".join(each if each.endswith(b"\n") else each + b"\n" for each in chain)
        self._merge(request, "status", {"certificate": base64.b64encode(pem).decode()})

    def fail(self, request: SubmittedRequest, detail: str) -> None:
        """Add the condition Failed.

        Raises:
            ApiUnavailable, ApiRefused: it is not written; 409: the object has changed.
        """
        # Merging replaces the whole list, and the approval must stay as it is.
        path = f"{PATH}/{request.name}"
        present = self._connection.call("GET", path)
        if present["metadata"]["resourceVersion"] != request.version:
            raise ApiUnavailable(f"{request.name} has been modified", status=HTTPStatus.CONFLICT)
        conditions = present["status"].setdefault("conditions", [])
        conditions.append(_condition("Failed", "SignerRefused", detail))
        self._connection.call("PUT", f"{path}/status", body=present)

    def _rule(self, request: SubmittedRequest, kind: str, verdict: Verdict) -> SubmittedRequest:
        """Write the first condition of a request that has none."""
        condition = _condition(kind, f"CertrotdRule{verdict.rule.title()}", verdict.detail)
        return self._merge(request, "approval", {"conditions": [condition]})

    def _merge(
        self, request: SubmittedRequest, part: str, status: Mapping[str, object]
    ) -> SubmittedRequest:
        """Merge into the status; the version makes it fail if anything changed in between."""
        metadata = {"resourceVersion": request.version, "uid": request.uid}
        body = _headed(metadata) | {"status": status}
        path = f"{PATH}/{request.name}/{part}"
        return self._read(self._connection.call("PATCH", path, body=body, content=MERGE))

    def _read(self, value: Json) -> SubmittedRequest:
        return submitted(value, self._connection.quoted)

    def _pages(self) -> Iterator[Json]:
        query = {"limit": str(PAGE)}
        while True:
            page = self._connection.call("GET", PATH, query=query, largest=LARGEST_LIST)
            yield page
            following = page["metadata"].get("continue")
            if not following:
                return
            query = {"limit": str(PAGE), "continue": following}


def submitted(value: Json, quote: Callable[[str], str] = quoted) -> SubmittedRequest:
    """Read an object of the API; `quote` makes texts of others fit to be shown.

    Raises:
        ApiUnavailable: it has not the shape of one.
    """
    try:
        metadata, spec, status = value["metadata"], value["spec"], value.get("status") or {}
        conditions = {each["type"]: each for each in status.get("conditions") or ()}
        told = {kind: quote(str(each.get("message") or "")) for kind, each in conditions.items()}
        seconds = spec.get("expirationSeconds")
        certificate = status.get("certificate")
        return SubmittedRequest(
            name=metadata["name"],
            uid=metadata["uid"],
            version=metadata["resourceVersion"],
            created_at=_moment(metadata["creationTimestamp"]),
            signer=spec["signerName"],
            username=spec.get("username", ""),
            groups=tuple(spec.get("groups") or ()),
            usages=tuple(spec.get("usages") or ()),
            lifetime=None if seconds is None else timedelta(seconds=seconds),
            request=base64.b64decode(spec["request"], validate=True),
            approved=told.get("Approved"),
            approved_at=_written(conditions.get("Approved")),
            denied=told.get("Denied"),
            failed=told.get("Failed"),
            certificate=base64.b64decode(certificate, validate=True) if certificate else None,
        )
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as e:
        problem = quote(repr(e))
        raise ApiUnavailable(f"kube-apiserver sent no CertificateSigningRequest: {problem}") from e


def _known(items: list[Json]) -> Iterator[SubmittedRequest]:
    """Yield those whose signer is a kubelet's; somebody else's are not even read."""
    signers = {each.value for each in Purpose}
    return (submitted(each) for each in items if each["spec"].get("signerName") in signers)


def _headed(metadata: Mapping[str, object]) -> dict[str, object]:
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": metadata,
    }


def _condition(kind: str, reason: str, message: str) -> Json:
    return {"type": kind, "status": "True", "reason": reason, "message": message}


def _written(condition: Json | None) -> datetime | None:
    if condition is None:
        return None
    text = condition.get("lastUpdateTime") or condition.get("lastTransitionTime")
    return _moment(text) if text else None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
