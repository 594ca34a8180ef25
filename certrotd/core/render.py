"""A verified pair to the content of its files, and back from files to the identity they hold.

The same pair always gives the same bytes. Reads and writes no file.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.core import x509
from certrotd.core.model import Kubeconfig, OutputKind, Secret

if TYPE_CHECKING:
    from certrotd.core.model import CertificateSpec, Output, StoredFile, Verified

_KEY_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
_IDENTITY_LINE = re.compile(
    rb"^\s*(client-certificate-data|client-key-data):\s*[\"']?([A-Za-z0-9+/=]+)[\"']?\s*$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a component's files hold: the chain, leaf first (PEM), and the key if one is there."""

    chain: tuple[bytes, ...]
    private_key: Secret | None


def render(verified: Verified) -> tuple[tuple[Output, Secret], ...]:
    """Return the content of every output."""
    return tuple((output, Secret(_content(output, verified))) for output in verified.spec.outputs)


def _content(output: Output, verified: Verified) -> bytes:
    match output.kind:
        case OutputKind.CERTIFICATE:
            return b"".join(verified.chain)
        case OutputKind.KEY:
            return verified.private_key.reveal()
        case OutputKind.COMBINED:
            return b"".join(verified.chain) + verified.private_key.reveal()
        case OutputKind.CA:
            return b"".join(verified.anchors)
        case OutputKind.KUBECONFIG:
            if output.kubeconfig is None:
                raise ValueError(f"{output.path}: a kubeconfig output without its settings")
            spec = verified.spec
            identity = _embedded(verified) if output.kubeconfig.embed else _named(spec)
            return _kubeconfig(output.kubeconfig, spec, verified.anchors, identity)


def constant(output: Output, spec: CertificateSpec, anchors: tuple[bytes, ...]) -> bytes | None:
    """Return the content of an output that is the same for every pair, None if it is not."""
    if output.kind is OutputKind.CA:
        return b"".join(anchors)
    if output.kubeconfig is None or output.kubeconfig.embed:
        return None
    return _kubeconfig(output.kubeconfig, spec, anchors, _named(spec))


def _kubeconfig(
    settings: Kubeconfig,
    spec: CertificateSpec,
    anchors: tuple[bytes, ...],
    identity: tuple[str, str],
) -> bytes:
    """Write a kubeconfig as kubeadm does: keys sorted, one cluster, user and context.

    Strings are quoted as JSON, which YAML 1.2 reads alike.
    """
    user, cluster = settings.user, settings.cluster
    context = f"{user}@{cluster}"
    lines = [
        "apiVersion: v1",
        "clusters:",
        "- cluster:",
        f"    {_authority(settings, spec, anchors)}",
        f"    server: {_quoted(settings.server)}",
        f"  name: {_quoted(cluster)}",
        "contexts:",
        "- context:",
        f"    cluster: {_quoted(cluster)}",
        f"    user: {_quoted(user)}",
        f"  name: {_quoted(context)}",
        f"current-context: {_quoted(context)}",
        "kind: Config",
        "users:",
        f"- name: {_quoted(user)}",
        "  user:",
        *(f"    {line}" for line in identity),
        "",
    ]
    return "\n".join(lines).encode()


def _authority(settings: Kubeconfig, spec: CertificateSpec, anchors: tuple[bytes, ...]) -> str:
    """Return the line that names the API server's CA; a file that is named wins."""
    beside = None if settings.embed else _path(spec, OutputKind.CA)
    path = settings.ca_file or beside
    if path:
        return f"certificate-authority: {_quoted(path)}"
    return f"certificate-authority-data: {_base64(b''.join(anchors))}"


def _embedded(verified: Verified) -> tuple[str, str]:
    return (
        f"client-certificate-data: {_base64(b''.join(verified.chain))}",
        f"client-key-data: {_base64(verified.private_key.reveal())}",
    )


def _named(spec: CertificateSpec) -> tuple[str, str]:
    certificate = _path(spec, OutputKind.CERTIFICATE, OutputKind.COMBINED)
    key = _path(spec, OutputKind.KEY, OutputKind.COMBINED)
    if certificate is None or key is None:
        raise ValueError(f"{spec.name}: a kubeconfig that names files has none to name")
    return f"client-certificate: {_quoted(certificate)}", f"client-key: {_quoted(key)}"


def _path(spec: CertificateSpec, *kinds: OutputKind) -> str | None:
    """Return the path of the first output of the first kind there is one of."""
    return next((o.path for kind in kinds for o in spec.outputs if o.kind is kind), None)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def identity(files: tuple[StoredFile, ...]) -> Identity:
    """Find the chain and the key in what lies on disk.

    Raises:
        ValueError: nothing usable is there, or two files hold different pairs; the text names
            the path and the cause, and shows nothing of the content.
    """
    chain: tuple[bytes, ...] = ()
    key: Secret | None = None
    chain_path = key_path = ""
    for each in files:
        path = each.output.path
        found_chain, found_key = _held(each)
        if found_chain and chain and found_chain[0] != chain[0]:
            raise ValueError(f"{path}: holds another certificate than {chain_path}")
        if found_chain and not chain:
            chain, chain_path = found_chain, path
        if found_key and key and found_key.reveal() != key.reveal():
            raise ValueError(f"{path}: holds another private key than {key_path}")
        if found_key and not key:
            key, key_path = found_key, path
    if not chain:
        raise ValueError("no output holds a certificate")
    return Identity(chain=chain, private_key=key)


def _held(stored: StoredFile) -> tuple[tuple[bytes, ...], Secret | None]:
    """Return the chain and the key that one file holds; a CA bundle holds neither."""
    if stored.content is None or stored.output.kind is OutputKind.CA:
        return (), None
    content = stored.content.reveal()
    try:
        match stored.output.kind:
            case OutputKind.CERTIFICATE:
                return x509.split_pem(content), None
            case OutputKind.KEY:
                return (), _key_in(content)
            case OutputKind.COMBINED:
                return x509.split_pem(content), _key_in(content)
            case OutputKind.KUBECONFIG:
                return _in_kubeconfig(content) if stored.output.secret else ((), None)
    except ValueError as e:
        raise ValueError(f"{stored.output.path}: {e}") from e


def _key_in(content: bytes) -> Secret:
    found = _KEY_BLOCK.search(content)
    if found is None:
        raise ValueError("there is no PEM private key in it")
    return Secret(b"\n".join(line.strip() for line in found[0].splitlines()) + b"\n")


def _in_kubeconfig(content: bytes) -> tuple[tuple[bytes, ...], Secret]:
    """Read an embedded identity, without a YAML parser where one line each tells it."""
    lines = _IDENTITY_LINE.findall(content)
    data = dict(lines)
    if len(lines) != len(data) or len(data) != 2:  # noqa: PLR2004  # a certificate and a key
        data = current_user(content)
    try:
        certificate = base64.b64decode(data[b"client-certificate-data"], validate=True)
        key = base64.b64decode(data[b"client-key-data"], validate=True)
    except KeyError as e:
        raise ValueError(f"there is no {e.args[0].decode()} in it") from None
    except binascii.Error as e:
        raise ValueError(f"client-certificate-data or client-key-data is not base64: {e}") from e
    return x509.split_pem(certificate), _key_in(key)


def current_user(content: bytes) -> dict[bytes, bytes]:
    """Find the user of the current context in a kubeconfig that somebody else wrote.

    Raises:
        ValueError: it is no kubeconfig.
    """
    # Imported here because the files certrotd wrote itself do not need it, and `status` must be
    # quick.
    import yaml  # noqa: PLC0415

    try:
        document = yaml.safe_load(content)
        contexts = {each["name"]: each["context"] for each in document["contexts"]}
        users = {each["name"]: each["user"] for each in document["users"]}
        user = users[contexts[document["current-context"]]["user"]]
        items = user.items()
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError, RecursionError):
        # `from None`: a YAML error quotes the text, and the text holds the key.
        raise ValueError("it is not a kubeconfig with a current context and its user") from None
    return {str(name).encode(): str(value).encode() for name, value in items}
