"""A publisher in a process of its own: `python -m tests.crash.publisher DIRECTORY prepare|publish`.

What strace kills. Between the files `mark` and `end` it publishes a second pair over a first one.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from certrotd.adapters.store import GenerationStore
from tests.factories import NOW, Lab, make_spec


def main(directory: Path, what: str) -> None:
    """Do it."""
    spec = make_spec(directory / "pki")
    store = GenerationStore(str(directory / "state" / "history"), keep=3)
    lab = Lab()
    if what == "prepare":
        (directory / "pki").mkdir(mode=0o755, parents=True)
        store.publish(lab.issue(spec), NOW)
        return
    # Everything is imported and made before the mark: only what comes after it is swept.
    verified = lab.issue(spec, NOW + timedelta(hours=1))
    (directory / "mark").touch()
    store.publish(verified, NOW + timedelta(hours=1))
    (directory / "end").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
