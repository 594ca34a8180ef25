"""The store: generations beside the outputs, switched by one rename each."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from certrotd.adapters.store import adoption, layout, preflight, reading
from certrotd.adapters.store.generations import Draft, Piece, leaf_of
from certrotd.adapters.store.history import History
from certrotd.adapters.store.manifest import Manifest
from certrotd.adapters.store.retiring import retire
from certrotd.adapters.store.tree import Tree
from certrotd.core.errors import PublishRefused
from certrotd.core.model import Published
from certrotd.core.render import render
from certrotd.durable import flush, located

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from certrotd.adapters.store.generations import Generation
    from certrotd.core.model import (
        CertificateSpec,
        GenerationId,
        ParsedCertificate,
        StoredSet,
        Verified,
    )


class GenerationStore:
    """Implements `ports.Store` on local file systems.

    One process at a time may publish (the rotator's lock sees to it); reading needs no lock.
    """

    def __init__(self, history_directory: str, *, keep: int) -> None:
        """Say where copies of replaced generations go, and how many of each are kept."""
        self._history = History(history_directory)
        self._keep = max(keep, 1)

    def read(self, spec: CertificateSpec) -> StoredSet:
        """Read all outputs as a component would, and say what differs from what was published."""
        return reading.read(spec)

    def preflight(self, specs: Iterable[CertificateSpec]) -> None:
        """Prove that `publish` could work for all of them.

        Raises:
            PublishRefused: a target is missing, unsafe, full or read-only; all of them are named.
        """
        preflight.check(tuple(specs), self._history.path)

    def publish(self, verified: Verified, at: datetime) -> Published:
        """Make a new generation visible by one rename, durably, keeping a copy of the previous.

        Raises:
            PublishRefused: nothing changed.
            PublishUncertain: the switch happened but the disk did not confirm it.
        """
        spec = verified.spec
        pieces = {
            output.path: Piece(
                path=output.path,
                name=layout.entry_of(spec, output.path),
                content=content,
                mode=output.mode,
                uid=output.uid,
                gid=output.gid,
            )
            for output, content in render(verified)
        }
        return self._put(spec, pieces, verified.leaf, verified.issued_at, at)

    def restore(self, spec: CertificateSpec, generation: GenerationId, at: datetime) -> Published:
        """Publish the kept copy of `generation` as a new generation, as it was.

        Modes and owners are the copy's. A path that the copy has no file for, because it was
        configured later, is missing again.

        Raises:
            PublishRefused: the copy is gone or the target cannot be written; nothing changed.
            PublishUncertain: the switch happened but the disk did not confirm it.
        """
        copy = self._history.read(spec, generation)
        leaf = leaf_of(spec, copy.pieces)
        if leaf is None or copy.manifest is None:
            raise PublishRefused(
                f"generation {generation} of {spec.name} holds no pair that works",
                path=spec.outputs[0].path,
                hint="choose another generation (`certrotd history`)",
            )
        return self._put(spec, dict(copy.pieces), leaf, copy.manifest.issued_at, at)

    def retire(self, spec: CertificateSpec, before: datetime, *, prune: bool = True) -> int:
        """Unlink what was replaced before `before`; sweep litter; prune history if told so."""
        if prune:
            self._history.prune(spec, self._keep)
        return retire(spec, before)

    def history(self, spec: CertificateSpec) -> tuple[GenerationId, ...]:
        """Return the generations that `restore` can bring back, oldest first.

        Raises:
            PublishRefused: the history is there and this user may not read it.
        """
        return self._history.restorable(spec)

    def _put(
        self,
        spec: CertificateSpec,
        pieces: dict[str, Piece],
        leaf: ParsedCertificate,
        issued_at: datetime | None,
        at: datetime,
    ) -> Published:
        with Tree(spec) as tree:
            configured = {each.path for each in spec.outputs}
            pieces = {p: x for p, x in pieces.items() if p in configured or tree.is_ours(p)}
            live = self._adopt(tree, at)
            pieces |= adoption.carried(tree, live, pieces)
            facts = Manifest(
                generation=self._new_id(spec, live, at),
                certificate=spec.name,
                issued_at=issued_at,
                published_at=at,
                serial=leaf.serial,
                not_after=leaf.not_after,
                fingerprint=leaf.fingerprint,
                previous=None,
            )
            facts = self._switch(tree, facts, _labelled(pieces, live), live)
        return Published(
            certificate=spec.name,
            generation=facts.generation,
            previous=facts.previous,
            fingerprint=leaf.fingerprint,
            serial=leaf.serial,
            not_after=leaf.not_after,
            published_at=at,
        )

    def _adopt(self, tree: Tree, at: datetime) -> Generation | None:
        """Make every path that shows something a link of ours that shows the same.

        Return the live generation.
        """
        seen = adoption.survey(tree)
        live = tree.live_generation()
        if not seen.foreign:
            return live
        if pieces := adoption.to_adopt(seen, live):
            generation = self._new_id(tree.spec, live, at)
            facts = _described(tree.spec, generation, pieces)
            with Draft(tree.generations, facts) as draft:
                draft.write(pieces.values())
                with located(tree.generations.path):
                    flush(draft.files)
                draft.complete()
                tree.aim(facts.generation)
                draft.keep()
                tree.commit(facts.generation)
        tree.link(list(seen.foreign))
        return tree.live_generation()

    def _switch(
        self,
        tree: Tree,
        facts: Manifest,
        pieces: Mapping[str, Piece],
        live: Generation | None,
    ) -> Manifest:
        """Write the new generation and the copy of the live one, flush both, then switch."""
        absent = [each.path for each in tree.spec.outputs if not tree.is_ours(each.path)]
        made = [path for path in absent if live is None or path not in live.pieces]
        with ExitStack() as stack:
            facts = replace(facts, previous=_previous(tree.spec, live, facts))
            new = stack.enter_context(Draft(tree.generations, facts))
            new.write(pieces.values())
            copy = self._copy(tree.spec, live, facts, stack)
            with located(tree.generations.path):
                flush([*new.files, *(copy.files if copy else ())])
            new.complete()
            if copy:
                copy.complete()
                copy.keep()
            try:
                # Links to what does not exist yet: no reader can tell them from nothing, and the
                # one rename shows all of them at once.
                tree.link(absent)
                tree.aim(facts.generation)
                new.keep()
                tree.commit(facts.generation)
            except PublishRefused:
                tree.unlink(made)
                raise
        return facts

    def _copy(
        self, spec: CertificateSpec, live: Generation | None, facts: Manifest, stack: ExitStack
    ) -> Draft | None:
        """Write a copy of the live generation, unless there is one already."""
        if live is None or not live.pieces or _same_pair(live, facts):
            return None
        if live.id in self._history.generations(spec):
            return None
        copied = live.manifest if live.intact else None
        copied = copied or _described(spec, live.id, live.pieces, live.manifest)
        draft = stack.enter_context(self._history.draft(spec, copied))
        draft.write(live.pieces.values())
        return draft

    def _new_id(self, spec: CertificateSpec, live: Generation | None, at: datetime) -> GenerationId:
        known = self._history.generations(spec)[-1:]
        return layout.new_generation(at, [*known, *([live.id] if live else [])])


def _described(
    spec: CertificateSpec,
    generation: GenerationId,
    pieces: Mapping[str, Piece],
    known: Manifest | None = None,
) -> Manifest:
    """Say what files are that we did not write; `known` is what was said before they changed."""
    leaf = leaf_of(spec, pieces)
    return Manifest(
        generation=generation,
        certificate=spec.name,
        issued_at=known.issued_at if known else None,
        published_at=known.published_at if known else None,
        serial=leaf.serial if leaf else None,
        not_after=leaf.not_after if leaf else None,
        fingerprint=leaf.fingerprint if leaf else None,
        previous=known.previous if known else None,
    )


def _same_pair(live: Generation, facts: Manifest) -> bool:
    """Whether this pair is live already: published again because the disk did not confirm it."""
    return live.manifest is not None and live.manifest.fingerprint == facts.fingerprint


def _previous(
    spec: CertificateSpec, live: Generation | None, facts: Manifest
) -> GenerationId | None:
    """Return what a rollback goes back to: the last other pair, if it was one that works."""
    if live is None:
        return None
    if _same_pair(live, facts):
        return live.manifest.previous if live.manifest else None
    if live.intact:
        return live.id if live.manifest and live.manifest.fingerprint else None
    return live.id if live.complete and leaf_of(spec, live.pieces) else None


def _labelled(pieces: Mapping[str, Piece], live: Generation | None) -> dict[str, Piece]:
    """Give each file the SELinux label of the file it replaces."""
    before = live.pieces if live else {}
    return {
        path: replace(piece, label=before[path].label) if path in before else piece
        for path, piece in pieces.items()
    }
