"""What the consumers of a node must find, whenever they look; knows nothing of how it is made.

Everything here reads files and sockets by itself: a defect in certrotd's own reading must show.
"""

from __future__ import annotations

import base64
import functools
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certrotd.core.model import OutputKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from certrotd.core.model import CertificateSpec, Output

_KEY = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL
)
_DATA = re.compile(rb"(client-certificate-data|client-key-data): \"?([A-Za-z0-9+/=]+)")
_SECRET = (b"PRIVATE KEY", b"client-key-data")


@dataclass(frozen=True, slots=True)
class Held:
    """The identity in the files of one certificate: leaf as DER, and every fault that was found."""

    leaf: bytes | None
    faults: tuple[str, ...]


@functools.cache
def identity(content: bytes) -> tuple[bytes | None, bytes | None]:
    """Return leaf (DER) and public key of the private key (DER) in a file's content.

    Raises:
        ValueError: there is a PEM block that cannot be read.
    """
    if fields := dict(_DATA.findall(content)):
        content = b"".join(base64.b64decode(each) for each in fields.values())
    leaf = key = None
    if b"BEGIN CERTIFICATE" in content:
        certificate = x509.load_pem_x509_certificates(content)[0]
        leaf = certificate.public_bytes(serialization.Encoding.DER)
    if found := _KEY.search(content):
        key = _public(serialization.load_pem_private_key(found[0], None).public_key())
    return leaf, key


@functools.cache
def _key_of(leaf: bytes) -> bytes:
    return _public(x509.load_der_x509_certificate(leaf).public_key())


def _public(key: object) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form)  # type: ignore[attr-defined,no-any-return]


def held(spec: CertificateSpec) -> Held:
    """Read all outputs of a certificate as its component would, and find what is wrong."""
    faults: list[str] = []
    leaves: set[bytes] = set()
    keys: set[bytes] = set()
    for output in spec.outputs:
        try:
            with Path(output.path).open("rb") as file:
                status, content = os.fstat(file.fileno()), file.read()
            leaf, key = identity(content)
        except (OSError, ValueError) as e:
            faults.append(f"{output.path}: {e}")
            continue
        faults += _wrong(output, status)
        if leaf and output.kind is not OutputKind.CA:
            leaves.add(leaf)
        if key:
            keys.add(key)
    if len(leaves) > 1 or len(keys) > 1:
        faults.append(f"{spec.name}: files of two generations")
    if len(leaves) == 1 and keys - {_key_of(next(iter(leaves)))}:
        faults.append(f"{spec.name}: the key is another certificate's")
    return Held(leaf=next(iter(leaves), None), faults=tuple(faults))


def serial_of(leaf: bytes | None) -> str:
    """Return a leaf's serial as certrotd writes it."""
    return f"{x509.load_der_x509_certificate(leaf).serial_number:x}" if leaf else ""


@functools.cache
def _facts(leaf: bytes) -> tuple[str, tuple[str, ...], timedelta]:
    found = x509.load_der_x509_certificate(leaf)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    subject = found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    life = found.not_valid_after_utc - found.not_valid_before_utc
    return str(subject[0].value), tuple(names.get_values_for_type(x509.DNSName)), life


def foreign(spec: CertificateSpec) -> list[str]:
    """Say what in a published leaf nobody ever asked for; of the name only the stem is fixed."""
    leaf = held(spec).leaf
    if leaf is None:
        return []
    name, dns, life = _facts(leaf)
    found = [] if name.startswith(spec.name) else [f"{spec.name}: its name is {name}"]
    if dns != spec.dns_names:
        found.append(f"{spec.name}: it is for {dns}")
    if life > spec.ttl + timedelta(minutes=2):
        found.append(f"{spec.name}: it lives for {life}")
    return found


def _wrong(output: Output, status: os.stat_result) -> Iterator[str]:
    mode = stat.S_IMODE(status.st_mode)
    if mode != output.mode:
        yield f"{output.path}: has mode {mode:o} instead of {output.mode:o}"
    if output.uid is not None and status.st_uid != output.uid:
        yield f"{output.path}: belongs to {status.st_uid} instead of {output.uid}"
    if output.gid is not None and status.st_gid != output.gid:
        yield f"{output.path}: is of group {status.st_gid} instead of {output.gid}"


def exposed(root: Path, specs: Iterable[CertificateSpec]) -> list[str]:
    """Name files with a key that are open to more than its own reader, under whatever name.

    What vanishes meanwhile is passed over.
    """
    groups = {o.gid for s in specs for o in s.outputs if o.gid is not None}
    found: list[str] = []
    for directory, names, files in os.walk(root):
        for name in files:
            with suppress(FileNotFoundError):
                found += _exposed(Path(directory, name), groups)
        for name in names:
            with suppress(FileNotFoundError):
                found += _enterable(Path(directory, name))
    return found


def _exposed(path: Path, groups: set[int]) -> Iterator[str]:
    """What nobody else can enter exposes nothing but by its own mode for others."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return
    if status.st_nlink > 1:  # watchers of the old inode would never wake
        yield f"{path}: a linked copy of a key"
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077 == 0 or not any(word in path.read_bytes() for word in _SECRET):
        return
    private = stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0
    if mode & 0o027 or (not private and status.st_gid not in groups):
        yield f"{path}: a key with mode {mode:o} and group {status.st_gid}"


def _enterable(path: Path) -> Iterator[str]:
    if not path.name.startswith(".staging-"):
        return
    if stat.S_IMODE(path.stat().st_mode) & 0o077 and not (path / "MANIFEST").exists():
        yield f"{path}: an unfinished generation that can be entered"


def at_all_times(root: Path, specs: tuple[CertificateSpec, ...], touched: set[str]) -> list[str]:
    """Say what is wrong on a node at any time; before the bootstrap there may be nothing.

    Certificates that a person has `touched` may be anything, until they are whole again.
    """
    found: list[str] = []
    for spec in specs:
        there = any(Path(each.path).exists() for each in spec.outputs)
        faults = held(spec).faults if there else ()
        if there and not faults:
            touched.discard(spec.name)
            found += foreign(spec)
        elif spec.name not in touched:
            found += faults
    return found + exposed(root, specs)


def generations(specs: Iterable[CertificateSpec]) -> dict[str, str]:
    """Return what the live links say, by certificate."""
    found: dict[str, str] = {}
    for spec in specs:
        with suppress(OSError):
            live = Path(spec.outputs[0].path).parent / ".certrotd" / "live" / spec.name
            found[spec.name] = str(live.readlink())
    return found


def litter(root: Path) -> list[str]:
    """Name what an interrupted publication leaves behind.

    A `hold.new` or `journal.new` in the state directory may stay: it holds no secret, and the next
    one takes its place.
    """
    return [
        str(path)
        for path in root.rglob("*")
        if (path.name.endswith(".new") and path.parent != root / "state")
        or path.name.startswith(".staging-")
    ]
