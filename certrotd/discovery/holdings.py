"""What one process holds: its pairs, kubeconfigs, and the files it only reads."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from certrotd.discovery import identities
from certrotd.discovery.commandline import Flags, Word
from certrotd.discovery.files import Named
from certrotd.discovery.identities import NoIdentity
from certrotd.discovery.inventory import Certificate, Component, File, Read
from certrotd.discovery.process import Process
from certrotd.presets import programs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certrotd.discovery.authorities import Authorities
    from certrotd.discovery.files import Reader
    from certrotd.discovery.identities import Kubeconfig, Pair
    from certrotd.presets import FlagPair

_NAMES = {
    ("kube-apiserver", "serving"): "apiserver",
    ("kube-apiserver", "kubelet-client"): "apiserver-kubelet-client",
    ("kube-apiserver", "etcd-client"): "apiserver-etcd-client",
    ("kube-apiserver", "front-proxy-client"): "front-proxy-client",
    ("kube-apiserver", "sni"): "apiserver-sni",
}
"""The names kubeadm gives; all others are the component's with the material's."""
_SHARED = "its {material} files are those of certificate {name}, which stands above"


class Holdings:
    """Goes through processes one by one; a file belongs to the first one that names it."""

    def __init__(self, reader: Reader, authorities: Authorities) -> None:
        self._reader = reader
        self._authorities = authorities
        self._owners: dict[str, str] = {}  # certificates by path
        self._kubeconfigs: dict[str, str] = {}  # components by path
        self._names: set[str] = set()

    def component(self, process: Process) -> Component:
        """Return the process with all it holds; faults are left with the reader."""
        certificates: list[Certificate] = []
        notes = list(process.notes)
        for each in process.program.pairs:
            for files in self._named_pairs(process, each, notes):
                certificates += self._pair(each.material, files, notes)
        if process.program.name == "etcd":
            certificates += self._health_check(process)
        reads = list(self._reads(process, notes))
        for flag, word in process.flags.all(*process.program.kubeconfigs):
            if named := self._resolved(process, flag, word, notes):
                found, more = self._kubeconfig(named, notes)
                certificates += found
                reads += more
        return Component(
            name=process.name,
            process=process,
            certificates=tuple(certificates),
            reads=tuple(dict.fromkeys(reads)),
            notes=tuple(dict.fromkeys(notes)),
        )

    def people(self, paths: Iterable[str]) -> Component:
        """Return the kubeconfigs of people as one component without a process."""
        certificates: list[Certificate] = []
        notes: list[str] = []
        for path in dict.fromkeys(paths):
            if self._reader.optional(path) is None:
                continue
            person = Process(
                name="admin",
                program=programs()["kube-apiserver"],  # which they are clients of
                source=path,
                flags=Flags({}),
                keeper="",
            )
            named = Named(process=person, flag="", word=Word(path), path=path)
            stem = posixpath.basename(path).partition(".")[0]
            certificates += self._kubeconfig(named, notes, stem)[0]
        return Component(
            name="admin", process=None, certificates=tuple(certificates), notes=tuple(notes)
        )

    def _resolved(self, process: Process, flag: str, word: Word, notes: list[str]) -> Named | None:
        """Find a file; a name that depends on a variable not known here is a note."""
        if not word.text:
            return None
        if word.unresolved:
            notes.append(f"not found on this node: the value of {word.text} ({flag}); fill in")
            return None
        return self._reader.named(process, flag, word)

    def _named_pairs(
        self, process: Process, each: FlagPair, notes: list[str]
    ) -> Iterable[tuple[Named, Named]]:
        """Yield certificate and key files of a material that flags name."""
        if each.listed:
            for flag, word in process.flags.all(*each.certificate):
                certificate, _, key = word.text.partition(":")[0].partition(",")
                words = Word(certificate, word.line), Word(key, word.line)
                yield from self._both(process, (flag, words[0]), (flag, words[1]), notes)
            return
        first, second = process.flags.last(*each.certificate), process.flags.last(*each.key)
        if first and second:
            yield from self._both(process, first, second, notes)
        elif only := first or second:
            missing = (each.key if first else each.certificate)[0]
            self._reader.fault(process, only[0], only[1], f"is given without {missing}")

    def _both(
        self,
        process: Process,
        certificate: tuple[str, Word],
        key: tuple[str, Word],
        notes: list[str],
    ) -> Iterable[tuple[Named, Named]]:
        found = (
            self._resolved(process, *certificate, notes),
            self._resolved(process, *key, notes),
        )
        if found[0] and found[1]:
            yield found[0], found[1]

    def _pair(
        self,
        material: str,
        files: tuple[Named, Named],
        notes: list[str],
        name: str = "",
    ) -> list[Certificate]:
        """Read a pair that is nobody's yet; nothing after a fault or where it is somebody's."""
        certificate, key = files
        if owner := self._owners.get(certificate.path):
            notes.append(_SHARED.format(material=material, name=owner))
            return []
        contents = self._reader.content(certificate), self._reader.content(key)
        if contents[0] is None or contents[1] is None:
            return []
        try:
            pair = identities.pair(contents[0], contents[1])
        except NoIdentity as e:
            self._reader.unusable(certificate, str(e))
            return []
        if key.path == certificate.path:
            found = [self._reader.file("combined", certificate)]
        else:
            found = [self._reader.file("certificate", certificate), self._reader.file("key", key)]
        wanted = name or self._name(certificate.process, material)
        return [self._certificate(wanted, material, pair, [each for each in found if each])]

    def _certificate(
        self, wanted: str, material: str, pair: Pair, files: list[File]
    ) -> Certificate:
        """Give a pair its name on this node."""
        unique, number = wanted, 1
        while unique in self._names:
            number += 1
            unique = f"{wanted}-{number}"
        self._names.add(unique)
        self._owners.update((each.path, unique) for each in files)
        return Certificate(name=unique, material=material, pair=pair, files=tuple(files))

    def _name(self, process: Process, material: str) -> str:
        if known := _NAMES.get((process.program.name, material)):
            return known
        short = process.name.removeprefix("kube-")
        if material.startswith("kubeconfig"):
            return short
        is_etcd_server = process.program.name == "etcd" and material == "serving"
        return f"{short}-{'server' if is_etcd_server else material}"

    def _health_check(self, process: Process) -> list[Certificate]:
        """Return the pair kubeadm makes for health checks and etcdctl; no flag names it."""
        found = process.flags.last(*programs()["etcd"].pairs[0].certificate)
        served = process.on_host(found[1].text) if found else None
        if served is None:
            return []
        stem = posixpath.join(posixpath.dirname(served), "healthcheck-client")
        if f"{stem}.crt" in self._owners or self._reader.optional(f"{stem}.crt") is None:
            return []
        words = [Word(f"{stem}{end}") for end in (".crt", ".key")]
        named = [Named(process=process, flag="", word=w, path=w.text) for w in words]
        return self._pair("healthcheck-client", (named[0], named[1]), [])

    def _reads(self, process: Process, notes: list[str]) -> Iterable[Read]:
        """Yield what is only read; CA files are remembered as authorities."""
        for material, flags in process.program.files.items():
            for flag, word in process.flags.all(*flags):
                for each in _paths(word):
                    named = self._resolved(process, flag, each, notes)
                    if named is None or self._reader.content(named) is None:
                        continue
                    if material.endswith("ca"):
                        self._authorities.add(named, material)
                    yield Read(path=named.path, material=material)
        self._signing(process)

    def _signing(self, process: Process) -> None:
        """Remember kube-controller-manager's signing pair: a CA, and where its key is."""
        pair = [process.flags.last(f"--cluster-signing-{kind}-file") for kind in ("cert", "key")]
        if not pair[0] or not pair[1] or pair[0][1].unresolved or pair[1][1].unresolved:
            return
        certificate = self._reader.named(process, *pair[0])
        key = self._reader.named(process, *pair[1])
        if certificate and key:
            self._authorities.add(certificate, "cluster-signing")
            self._authorities.add_key(certificate.path, key.path)

    def _kubeconfig(
        self, named: Named, notes: list[str], name: str = ""
    ) -> tuple[list[Certificate], list[Read]]:
        """Return the identity of a kubeconfig, and what is only read because of it."""
        if owner := self._kubeconfigs.get(named.path):
            if owner != named.process.name:
                notes.append(f"{named.path} is kept with {owner}, which uses it, too")
            return [], []
        self._kubeconfigs[named.path] = named.process.name
        content = self._reader.content(named)
        if content is None:
            return [], []
        try:
            found = identities.kubeconfig(named.word.text, content)
        except NoIdentity as e:
            self._reader.unusable(named, str(e))
            return [], []
        if found.pair is not None:
            self._authorities.add_beside(named, found.authority)
            return self._embedded(named, found, name), []
        if found.certificate_file and found.key_file:
            return self._by_file(named, found, notes, name)
        if found.other:
            notes.append(f"{named.path} logs in with its {found.other}; there is no certificate")
        else:
            self._reader.unusable(named, "there is neither a certificate with its key nor a token")
        return [], []

    def _embedded(self, named: Named, found: Kubeconfig, name: str) -> list[Certificate]:
        file = self._reader.file("kubeconfig", named)
        if file is None or found.pair is None:
            return []
        whole = File(kind=file.kind, path=file.path, facts=file.facts, kubeconfig=found)
        wanted = name or self._name(named.process, "kubeconfig")
        return [self._certificate(wanted, "kubeconfig-embedded", found.pair, [whole])]

    def _by_file(
        self, named: Named, found: Kubeconfig, notes: list[str], name: str
    ) -> tuple[list[Certificate], list[Read]]:
        """The files a kubeconfig names are kept; the kubeconfig itself stays as it is."""
        words = [Word(p, named.word.line) for p in (found.certificate_file, found.key_file)]
        files = [self._resolved(named.process, named.flag, each, notes) for each in words]
        reads = [Read(path=named.path, material="kubeconfig")]
        authority = Word(found.authority_file, named.word.line)
        if ca := self._resolved(named.process, named.flag, authority, notes):
            self._authorities.add(ca, "root-ca")
            reads.append(Read(path=ca.path, material="kubeconfig-ca"))
        if not files[0] or not files[1]:
            return [], reads
        certificates = self._pair("kubeconfig-pair", (files[0], files[1]), notes, name)
        return certificates, reads


def _paths(word: Word) -> Iterable[Word]:
    """Yield the files of a value: a path, several with commas, or `jwt,pub-key=PATH,...`."""
    if word.text.startswith(("/", "$")) or "," not in word.text:
        yield from (
            Word(each, word.line) for each in word.text.split(",") if "/" in each or "$" in each
        )
        return
    for part in word.text.split(","):
        path = part.rpartition("=")[2]
        if path.startswith("/"):
            yield Word(path, word.line)
