"""Very many nodes at once, and how long it takes until each has its certificate."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec

from certrotd.adapters.kubernetes import ApiSigningRequests
from certrotd.core.errors import ApiUnavailable
from tests.kubelets.lab import BOOTSTRAPPERS
from tests.testbed.kubeapi import call, client_context
from tests.unit.requests_of_kubelets import pem, subject

if TYPE_CHECKING:
    from tests.kubelets.lab import KubeletLab

WORKERS = 6


def ask_all(lab: KubeletLab, label: str, count: int) -> set[str]:
    """Ask for the first certificates of so many new nodes, each with a key of its own."""

    def some(worker: int) -> list[str]:
        who = lab.connection("system:bootstrap:abcdef", BOOTSTRAPPERS)
        names = [f"{label}-{i}" for i in range(worker, count, WORKERS)]
        for name in names:
            key = ec.generate_private_key(ec.SECP256R1())
            lab.ask(who, pem(subject(f"system:node:{name}"), key=key), name=name)
        return names

    with ThreadPoolExecutor(WORKERS) as pool:
        return {name for names in pool.map(some, range(WORKERS)) for name in names}


def wait_signed(lab: KubeletLab, names: set[str], patience: float = 900.0) -> float:
    """Watch until all have certificates; returns how long that took, in seconds."""
    started = time.monotonic()
    requests, left = ApiSigningRequests(lab.connection("watcher", "system:masters")), set(names)
    while left:
        assert time.monotonic() - started < patience, f"{len(left)} of {len(names)} are left"
        try:
            for each in requests.stream(2.0):
                if each.certificate is not None:
                    left.discard(each.name)
                    if not left:
                        break
        except ApiUnavailable:
            continue
    return time.monotonic() - started


def requests_served(lab: KubeletLab) -> int:
    """How many requests kube-apiserver has answered, whoever asked."""
    who = lab.server("metrics", "system:masters")
    assert who.certificate
    assert who.key
    context = client_context(lab.ca_file, Path(who.certificate), Path(who.key))
    _, body = call(f"{lab.url}/metrics", context)
    found = re.findall(rb"^apiserver_request_total\{.*\} ([0-9.e+]+)$", body, re.MULTILINE)
    return int(sum(map(float, found)))


def largest(pid: int) -> float:
    """The largest resident set of a process, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
