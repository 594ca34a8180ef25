"""Defects of one line, put into a copy of the package one at a time: each must be found.

A harness that finds nothing is only worth something if it finds these.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

STEPPING, ROTATOR = "rotator/stepping.py", "rotator/rotator.py"
ACTIVATING = "rotator/activating.py"
STORE, TREE, GENERATIONS = (f"adapters/store/{n}.py" for n in ("store", "tree", "generations"))
DIRECTORY, RETIRING = "adapters/store/directory.py", "adapters/store/retiring.py"


@dataclass(frozen=True, slots=True)
class Mutant:
    """Replace `old` by `new` in one file; `hunters` are asked in this order."""

    name: str
    file: str
    old: str
    new: str
    hunters: tuple[str, ...] = ("kills", "errors", "lives")


LIVES, POWER = ("lives", "kills"), ("power", "replay")
MUTANTS = (
    Mutant("files not flushed", "durable.py", "    files = tuple(descriptors)\n",
           "    files = ()\n", POWER),
    Mutant("directories not flushed", DIRECTORY, "        with located(self.path):\n"
           "            os.fsync(self.fd)\n", "        pass\n", ("replay", "power")),
    Mutant("live link made in two steps", TREE, "        try:\n            self.live.rename(",
           "        try:\n            self.live.unlink(self.spec.name)\n"
           "            self.live.rename(", ("strace", "kills")),
    Mutant("mode set after the file is open", DIRECTORY, "_CREATE, 0o600,", "_CREATE, 0o644,",
           ("strace", "kills")),
    Mutant("unfinished generation can be entered", DIRECTORY,
           "            os.mkdir(name, 0o700, dir_fd=self.fd)\n            return",
           "            os.mkdir(name, 0o755, dir_fd=self.fd)\n            return"),
    Mutant("live pair unlinked with the old ones", RETIRING,
           "if each is not None and each != current", "if each is not None"),
    Mutant("litter stays", RETIRING, "            generations.remove(name)\n",
           "            pass\n"),
    Mutant("adoption without a copy", STORE, "if pieces := adoption.to_adopt(seen, live):",
           "if pieces := {}:"),
    Mutant("no copy of the replaced pair", STORE, "if live.id in self._history.generations(spec):",
           "if live.id:", LIVES),
    Mutant("history pruned to nothing", "adapters/store/history.py", "_kept(directory)[:-keep]",
           "_kept(directory)"),
    Mutant("short write taken for a whole one", "durable.py",
           "        view = view[os.write(fd, view) :]\n",
           "        os.write(fd, view)\n        return\n", ("torn",)),
    Mutant("torn line of the journal stays", "adapters/journal.py",
           "    if end < size:\n        os.ftruncate(fd, end)\n", "", ("torn", "kills")),
    Mutant("owed work forgotten", "core/planning.py",
           "debt = _debt(component, owed.get(component.name), found)", "debt = None"),
    Mutant("begun written after the act", STEPPING,
           "        self._journal(component, EntryKind.BEGUN)\n        progress.begun = True\n"
           "        self._publish(step, verified, progress)\n",
           "        self._publish(step, verified, progress)\n        progress.begun = True\n"
           "        self._journal(component, EntryKind.BEGUN)\n"),
    Mutant("done written before the activation", STEPPING,
           "        self._activator.activate_and_prove(component, published, progress, "
           "step.decision)\n        self._journal(component, EntryKind.DONE)\n",
           "        self._journal(component, EntryKind.DONE)\n"
           "        self._activator.activate_and_prove(component, published, progress, "
           "step.decision)\n"),
    Mutant("proof skipped", ACTIVATING,
           "if missing := [each for each in proofs if not each.holds]:",
           "if missing := []:", ("real", *LIVES)),
    Mutant("gate skipped", ACTIVATING,
           "        if closed := [each for each in gates if not each.holds]:",
           "        if closed := []:", LIVES),
    Mutant("ill components are touched", ROTATOR,
           "closed = {name: bad for name, seen in found.items() if (bad := _not_held(seen))}",
           "closed = {}", LIVES),
    Mutant("one that is ill keeps nobody back", ROTATOR,
           "elif closed and not gating.urgent(step):", "elif False:", LIVES),
    Mutant("reload or restart, the wrong way round", ACTIVATING, "elif decision.restart or",
           "elif not decision.restart or", LIVES),
    Mutant("no restart where a reload is not seen", ACTIVATING, "        return bool(missing)\n",
           "        return False\n", LIVES),
    Mutant("always a restart", "core/deciding.py", "if not outdated:\n        return "
           "Decision(restart=decision.restart,", "if not outdated:\n        return "
           "Decision(restart=True,", LIVES),
    Mutant("restarted though it would not start", ACTIVATING,
           "if bad := unusable(world, component):", "if bad := ():", LIVES),
    Mutant("published though it would not start", STEPPING,
           "if not (bad := unusable(world, component)):", "if not (bad := ()):", LIVES),
    Mutant("not asked whether it was started anew", ACTIVATING,
           "holds = started >= moment - START_PRECISION", "holds = True", LIVES),
    Mutant("what it read before it changed is forgotten", "rotator/looking.py",
           "owed = with_outdated(world, planning.owed_work(entries), wish, moment)",
           "owed = planning.owed_work(entries)", LIVES),
    Mutant("a file of the future counts", "core/deciding.py", "started < each.changed_at <= now",
           "started < each.changed_at", LIVES),
    Mutant("rollback without activation", STEPPING,
           "if uses and not self._is_stopped(component):",
           "if False:", LIVES),
    Mutant("no rollback", STEPPING, "        if back:\n            again", "        if False:\n"
           "            again", LIVES),
    Mutant("going back wakes what is down", STEPPING,
           "                if uses and not self._is_stopped(component):",
           "                if uses:", LIVES),
    Mutant("failure places no hold", STEPPING,
           "            if progress.activated:\n                named",
           "            if False:\n                named", LIVES),
    Mutant("hold forgotten", ROTATOR, "if plan.steps and (held := world.hold.placed()):",
           "if False and (held := world.hold.placed()):", LIVES),
    Mutant("goes on after a failure", ROTATOR, 'stopped = f"{name} failed"', 'stopped = ""', LIVES),
    Mutant("lock shared", "adapters/flock.py", "fcntl.LOCK_EX |", "fcntl.LOCK_SH |", LIVES),
    Mutant("lock released at once", "adapters/flock.py", "            yield\n        finally:",
           "            fcntl.flock(fd, fcntl.LOCK_UN)\n            yield\n        finally:",
           ("two",)),
    Mutant("budget ignored", "rotator/issuing.py",
           "elif spent.get(spec.name, 0) >= self._world.bounds.issuances:", "elif False:", LIVES),
    Mutant("signatures not written down", "rotator/issuing.py",
           "        self._record(to_sign, run, EntryKind.ISSUED)\n", "", LIVES),
    Mutant("issuer's clock ignored", "rotator/issuing.py", "if apart <= world.bounds.skew:",
           "if True:", LIVES),
    Mutant("verify skips the name", "core/verify.py",
           "    if leaf.common_name != spec.common_name:\n", "    if False:\n", LIVES),
    Mutant("verify skips the DNS names", "core/verify.py", '    yield from _set("DNS names"',
           '    yield from () and _set("DNS names"', LIVES),
    Mutant("verify skips the life", "core/verify.py", "<= remaining <= spec.ttl + skew",
           "<= remaining", LIVES),
    Mutant("a stopped component is started", STEPPING,
           "            return state is ServiceState.STOPPED\n", "            return False\n",
           LIVES),
)  # fmt: skip

NO_PROGRAM = ("ImportError", "ModuleNotFoundError", "NameError", "SyntaxError", "IndentationError")
"""What a broken mutant or hunter ends with: no sweep has found that."""
SOUND = Mutant(
    "(none: nothing may be found)",
    "durable.py",
    "view = memoryview(data)",
    "view = memoryview(data)",
    ("kills", "torn", "errors", "lives", "power", "replay", "two", "strace", "real"),
)
"""The package as it is: what the hunters find in it is a defect of theirs, or a real one."""


def catch(mutant: Mutant, directory: Path) -> tuple[str, str]:
    """Return who found it (empty: nobody) and, on one line, how.

    Raises:
        ValueError: what it replaces is not there exactly once, or it is no program.
    """
    here = Path(__file__).parents[2]
    shutil.rmtree(directory, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(here / "certrotd", directory / "certrotd", ignore=ignored)
    (directory / "tests").symlink_to(here / "tests")
    path = directory / "certrotd" / mutant.file
    text = path.read_text()
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: {mutant.file} has no such line any more")
    path.write_text(text.replace(mutant.old, mutant.new))
    for hunter in mutant.hunters:
        ended = subprocess.run(
            [sys.executable, "-B", "-m", "tests.crash", "hunt", hunter],
            cwd=directory,
            env=os.environ | {"PYTHONPATH": str(directory)},
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            last = ended.stderr.strip().rpartition("\n")[2]
            if last.startswith("tests.testbed.build.BuildFailed"):
                continue  # no Vault to be had: another one looks
            if last.startswith(NO_PROGRAM):
                raise ValueError(f"{mutant.name}: {last}")
            return hunter, last
    return "", ""
