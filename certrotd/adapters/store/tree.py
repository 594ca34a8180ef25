"""The links of one certificate: what its paths say, and the one rename that switches them."""

from __future__ import annotations

import posixpath
import stat
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from certrotd.adapters.store import layout
from certrotd.adapters.store.directory import Directory
from certrotd.adapters.store.generations import Generation, read_generation
from certrotd.core.errors import PublishRefused, PublishUncertain

if TYPE_CHECKING:
    from types import TracebackType

    from certrotd.core.model import CertificateSpec, GenerationId


class Tree:
    """A certificate's home and the directories of its outputs, held open.

    Opening makes what is missing below `.certrotd`.
    """

    def __init__(self, spec: CertificateSpec) -> None:
        self.spec = spec
        self._stack = ExitStack()
        self._live_temporary = layout.temporary(spec.name)
        self._targets: dict[str, str] = {}

    def __enter__(self) -> Self:
        with self._stack as stack:
            paths = {posixpath.dirname(each.path) for each in self.spec.outputs}
            self._directories = {
                path: stack.enter_context(Directory.open(path)) for path in sorted(paths)
            }
            for each in self._directories.values():
                refuse_open_to_everybody(each)
            home = self._directories[layout.home_of(self.spec)]
            root = stack.enter_context(home.make(layout.TREE))
            self.live = stack.enter_context(root.make(layout.LIVE))
            all_generations = stack.enter_context(root.make(layout.GENERATIONS))
            self.generations = stack.enter_context(all_generations.make(self.spec.name))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, value, traceback)

    def directory(self, path: str) -> Directory:
        """Return the directory of an output."""
        return self._directories[posixpath.dirname(path)]

    def live_generation(self) -> Generation | None:
        """Read what the live link names; None if there is no such generation."""
        target = self.live.target(self.spec.name)
        generation = layout.generation_in(self.spec.name, target) if target else None
        return read_generation(self.generations, self.spec, generation) if generation else None

    def is_ours(self, path: str) -> bool:
        """Whether a path is the link that leads to its file in the live generation."""
        parent, name = posixpath.split(path)
        if parent in self._directories:
            target = self._directories[parent].target(name)
        else:
            try:
                with Directory.open(parent) as directory:
                    target = directory.target(name)
            except PublishRefused:
                return False
        return target == self._target(path)

    def _target(self, path: str) -> str:
        if path not in self._targets:
            self._targets[path] = layout.target_of(self.spec, path)
        return self._targets[path]

    def link(self, paths: list[str]) -> None:
        """Make links of ours of these paths, whatever they were, durably."""
        for path in paths:
            directory, name = self.directory(path), posixpath.basename(path)
            temporary = layout.temporary(name)
            directory.link(temporary, self._target(path))
            directory.rename(temporary, name)
        for each in {id(d): d for d in map(self.directory, paths)}.values():
            each.sync()

    def unlink(self, paths: list[str]) -> None:
        """Take links away again that were made and lead nowhere; best effort."""
        for path in paths:
            with suppress(PublishRefused):
                self.directory(path).unlink(posixpath.basename(path))

    def aim(self, generation: GenerationId) -> None:
        """Make the link that `commit` will put in place, and flush all that it stands on."""
        self.live.link(self._live_temporary, layout.live_target(self.spec.name, generation))
        self.generations.sync()
        self.live.sync()

    def commit(self, generation: GenerationId) -> None:
        """Switch every path of the certificate by one rename.

        Raises:
            PublishRefused: it was not switched.
            PublishUncertain: it was, but may be undone by a power cut.
        """
        try:
            self.live.rename(self._live_temporary, self.spec.name)
            self.live.sync()
        except PublishRefused as e:
            wanted = layout.live_target(self.spec.name, generation)
            if self.live.target(self.spec.name) != wanted:
                raise
            raise PublishUncertain(
                f"certificate {self.spec.name} was switched, but the disk did not confirm it: {e}",
                path=e.path,
                hint=e.hint,
            ) from e


def refuse_open_to_everybody(directory: Directory) -> None:
    """Refuse a directory in which everybody can put something in the place of our links.

    Raises:
        PublishRefused: it is writable by everybody, sticky or not.
    """
    if directory.status().st_mode & stat.S_IWOTH:
        raise PublishRefused(
            f"{directory.path}: everybody can write to it",
            path=directory.path,
            hint=f"chmod o-w {directory.path}",
        )
