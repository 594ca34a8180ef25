"""The image, built from the Dockerfile by buildah on a base made here from Debian's packages.

No image registry is asked: the base is a minimal Debian with Python. What pip installs comes from
a folder filled beforehand with what the lock files name, so hashes are checked all the same. Base
and folder are kept in the cache, `${CERTROTD_CACHE:-~/.cache}/certrotd/image`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.systemd.prerequisites import install, may_mount

REPOSITORY = Path(__file__).parents[2]
LOCKS = tuple(REPOSITORY / "requirements" / name for name in ("run.txt", "build.txt"))
BASE = "localhost/certrotd-test-base"
NAME = "localhost/certrotd-test"
_TOOLS = ("buildah", "runc", "mmdebstrap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A built image; `config` is what it says about itself, `root` its unpacked files."""

    config: dict[str, Any]
    root: Path


def unavailable() -> str | None:
    """Say why the image cannot be built and run here, after an attempt to install what is missing.

    The kind of machine is Debian, or one of its kin, as is the base.
    """
    if os.geteuid() != 0 or not may_mount():
        return "building the image needs root with CAP_SYS_ADMIN"
    if not (shutil.which("apt-get") and _sources()):
        return "the test's base image is made from Debian's packages; there is no apt here"
    if all(shutil.which(each) for each in _TOOLS):
        return None
    return install(*_TOOLS)


def build(directory: Path) -> Image:
    """Build in `directory`, which buildah also stores its layers in; see `remove`."""
    cache = _cache()
    _buildah(directory, "commit", "--quiet", _container(directory, _base(cache)), BASE)
    _buildah(
        directory,
        "bud", "--quiet", "--layers=false", "--format=docker", "--pull-never",
        "--isolation=chroot", f"--build-arg=BASE={BASE}", f"--tag={NAME}",
        f"--volume={_wheels(cache)}:/wheels:ro", f"--volume={_pip(directory)}:/etc/pip.conf:ro",
        str(REPOSITORY),
    )  # fmt: skip
    facts = json.loads(_buildah(directory, "inspect", "--type=image", NAME))
    made = _buildah(directory, "from", "--pull-never", NAME)
    root = _buildah(directory, "mount", made)
    return Image(config=facts["Docker"]["config"], root=Path(root))


def remove(directory: Path) -> None:
    """Unmount and remove everything of `build`."""
    _buildah(directory, "rm", "--all")
    _buildah(directory, "rmi", "--all", "--force")
    subprocess.run(["umount", directory / "storage" / "overlay"], check=False, capture_output=True)


def _buildah(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        [
            "buildah", f"--root={directory / 'storage'}", f"--runroot={directory / 'run'}",
            "--storage-driver=overlay", *arguments,
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"buildah {arguments[0]}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout.strip()


def _container(directory: Path, files: Path) -> str:
    name = _buildah(directory, "from", "scratch")
    _buildah(directory, "add", "--quiet", name, str(files), "/")
    return name


def _base(cache: Path) -> Path:
    """A minimal Debian of this machine's release, with Python."""
    release = _release()
    base = cache / f"base-{release}.tar"
    if not base.exists():
        fresh = base.with_suffix(f".{os.getpid()}.tar")
        subprocess.run(
            [
                "mmdebstrap", "--quiet", "--variant=minbase", "--include=python3,python3-venv",
                # Mirrors may be snapshots, whose lists are old on purpose.
                '--aptopt=Acquire::Check-Valid-Until "false"', release, fresh, *_sources(),
            ],
            check=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        fresh.rename(base)
    return base


def _wheels(cache: Path) -> Path:
    """What the lock files name, for the base's Python."""
    wheels = cache / "wheels"
    python = _python()
    subprocess.run(
        [
            sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet",
            f"--dest={wheels}", "--only-binary=:all:", f"--python-version={python}",
            "--require-hashes", *(f"--requirement={each}" for each in LOCKS),
        ],
        check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return wheels


def _pip(directory: Path) -> Path:
    config = directory / "pip.conf"
    config.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    return config


def _cache() -> Path:
    base = os.environ.get("CERTROTD_CACHE") or Path.home() / ".cache"
    folder = Path(base) / "certrotd" / "image"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _release() -> str:
    facts = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if line
    )
    return facts["VERSION_CODENAME"].strip('"')


def _python() -> str:
    """The version of the base's Python: the release's, which apt knows."""
    shown = subprocess.run(
        ["apt-cache", "show", "--no-all-versions", "python3-minimal"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    version = shown.partition("\nVersion: ")[2].split(".")
    return ".".join(version[:2])


def _sources() -> list[Path]:
    apt = Path("/etc/apt")
    found = [apt / "sources.list", *(apt / "sources.list.d").glob("debian.sources")]
    return [each for each in found if each.exists()]
