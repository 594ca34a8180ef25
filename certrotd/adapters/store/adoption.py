"""Files that are not ours yet: taken over byte by byte before anything changes.

Adoption publishes a copy of what every path shows as a generation of its own, and only then
makes links of the paths, one by one: whatever a crash leaves, each path shows the same bytes.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.adapters.store import layout
from certrotd.adapters.store.generations import Piece

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certrotd.adapters.store.generations import Generation
    from certrotd.adapters.store.tree import Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What stands at the paths: links of ours, somebody else's files, or nothing to read.

    `absent` paths may hold a link that leads nowhere; a reader sees no difference.
    """

    ours: tuple[str, ...]
    foreign: Mapping[str, Piece]
    absent: tuple[str, ...]


def survey(tree: Tree) -> Survey:
    """Look at every path of the certificate.

    Raises:
        PublishRefused: one is a directory or device, or cannot be read.
    """
    ours, foreign, absent = [], {}, []
    for output in tree.spec.outputs:
        if tree.is_ours(output.path):
            ours.append(output.path)
            continue
        found = tree.directory(output.path).read(posixpath.basename(output.path))
        if found is None:
            absent.append(output.path)
            continue
        foreign[output.path] = Piece(
            path=output.path,
            name=layout.entry_of(tree.spec, output.path),
            content=found.content,
            mode=found.mode,
            uid=found.uid,
            gid=found.gid,
            label=found.label,
        )
    return Survey(ours=tuple(ours), foreign=foreign, absent=tuple(absent))


def to_adopt(seen: Survey, live: Generation | None) -> dict[str, Piece]:
    """Return the generation that shows at every path what is there now.

    Empty if the live one does so already: then only links are missing.
    """
    pieces = dict(live.pieces) if live else {}
    if all(_same(each, pieces.get(path)) for path, each in seen.foreign.items()):
        return {}
    return pieces | dict(seen.foreign)


def carried(tree: Tree, live: Generation | None, wanted: Mapping[str, Piece]) -> dict[str, Piece]:
    """Return the files of outputs that are configured no more, but are still read through links.

    They stay as they are, in every later generation, until somebody removes the path: a
    component that was not told of the change goes on with what it has.
    """
    pieces = live.pieces if live else {}
    known = wanted.keys() | {each.path for each in tree.spec.outputs}
    return {path: each for path, each in pieces.items() if path not in known and tree.is_ours(path)}


def _same(one: Piece, other: Piece | None) -> bool:
    return (
        other is not None
        and one.content == other.content
        and (one.mode, one.uid, one.gid) == (other.mode, other.uid, other.gid)
    )
