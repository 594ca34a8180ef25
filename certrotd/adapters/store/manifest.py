"""What a generation says about itself, as JSON beside its files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from certrotd.core.model import CertificateName, GenerationId

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One file of a generation: the path it is read through, its name here, how it must be."""

    path: str
    name: str
    sha256: str
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A generation's facts.

    An adopted generation was not issued or published by certrotd: its times are None. Serial,
    end and fingerprint are None where its files hold no certificate that can be understood.
    `previous` is the history copy of what it replaced.
    """

    generation: GenerationId
    certificate: CertificateName
    issued_at: datetime | None
    published_at: datetime | None
    serial: str | None
    not_after: datetime | None
    fingerprint: str | None
    previous: GenerationId | None
    files: tuple[FileRecord, ...] = ()

    def record(self, path: str) -> FileRecord | None:
        """Return the record of the file that is read through `path`."""
        return next((each for each in self.files if each.path == path), None)


def encode(manifest: Manifest) -> bytes:
    """Write a manifest for people and programs alike."""
    document = {
        "version": _VERSION,
        "generation": manifest.generation,
        "certificate": manifest.certificate,
        "issued_at": _time(manifest.issued_at),
        "published_at": _time(manifest.published_at),
        "serial": manifest.serial,
        "not_after": _time(manifest.not_after),
        "fingerprint": manifest.fingerprint,
        "previous": manifest.previous,
        "files": [
            {
                "path": each.path,
                "name": each.name,
                "sha256": each.sha256,
                "mode": f"{each.mode:04o}",
                "uid": each.uid,
                "gid": each.gid,
            }
            for each in manifest.files
        ],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def decode(content: bytes) -> Manifest | None:
    """Read a manifest; None for anything that is not wholly one of ours."""
    try:
        document = json.loads(content)
        if document["version"] != _VERSION:
            return None
        return Manifest(
            generation=GenerationId(_text(document["generation"])),
            certificate=CertificateName(_text(document["certificate"])),
            issued_at=_moment(document["issued_at"]),
            published_at=_moment(document["published_at"]),
            serial=_optional(document["serial"]),
            not_after=_moment(document["not_after"]),
            fingerprint=_optional(document["fingerprint"]),
            previous=GenerationId(previous)
            if (previous := _optional(document["previous"]))
            else None,
            files=tuple(
                FileRecord(
                    path=_text(each["path"]),
                    name=_name(each["name"]),
                    sha256=_text(each["sha256"]),
                    mode=int(_text(each["mode"]), 8) & 0o7777,
                    uid=int(each["uid"]),
                    gid=int(each["gid"]),
                )
                for each in document["files"]
            ),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _optional(value: object) -> str | None:
    return None if value is None else _text(value)


def _name(value: object) -> str:
    """Return the name of a file in a generation; a path that leads elsewhere is not one."""
    name = _text(value)
    if not name or "/" in name or name in {".", ".."}:
        raise ValueError("not the name of a file")
    return name
