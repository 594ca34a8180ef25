"""One node's side: a configuration, a kubelet's directories, certrotd as a process of its own."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import yaml

from certrotd.core.x509 import parse_certificate, parse_request, split_pem
from tests.kubelets.lab import BOOTSTRAPPERS, CSRS_PATH, NODES_PATH, PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.adapters.kubernetes.connection import Json
    from certrotd.core.model import ParsedCertificate
    from tests.kubelets.lab import KubeletLab
    from tests.testbed.throwaway import Pair

ROLES = "system:certificates.k8s.io:certificatesigningrequests"
TOKEN = ("abcdef", "0123456789abcdef")


def grant(lab: KubeletLab) -> str:
    """Let nodes join and renew as kubeadm does; returns a bootstrap token."""
    lab.bind("system:node-bootstrapper", BOOTSTRAPPERS)
    lab.bind(f"{ROLES}:nodeclient", BOOTSTRAPPERS)
    lab.bind(f"{ROLES}:selfnodeclient", "system:nodes")
    token_id, secret = TOKEN
    data = {
        "token-id": token_id,
        "token-secret": secret,
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": BOOTSTRAPPERS,
    }
    body = {
        "metadata": {"name": f"bootstrap-token-{token_id}"},
        "type": "bootstrap.kubernetes.io/token",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }
    lab.admin.call("POST", "/api/v1/namespaces/kube-system/secrets", body=body)
    return ".".join(TOKEN)


class NodeSide:
    """A node without a kubelet process: what restarts it says that it is deliberately down."""

    def __init__(self, lab: KubeletLab, directory: Path, name: str, **section: object) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.lab = lab
        self.directory = directory
        self.name = name
        self.pki = directory / "pki"
        self.kubeconfig = directory / "kubelet.conf"
        self.config = directory / "certrotd.yaml"
        self.token_file = directory / "token"
        self.section: dict[str, Any] = {
            "node_name": name,
            "server": lab.url,
            "ca_file": str(lab.ca_file),
            "directory": str(self.pki),
            "kubeconfig": str(self.kubeconfig),
            "restart": {"exec": {"command": ["/bin/true"], "only_if": ["/bin/false"]}},
            **section,
        }
        self.write()

    def write(self, **section: object) -> None:
        """Write the configuration, with these keys changed."""
        self.section |= section
        document = {
            "state_directory": str(self.directory / "state"),
            "log": {"format": "json"},
            "issuers": {},
            "components": {},
            "kubelet": self.section,
        }
        self.config.write_text(yaml.safe_dump(document))

    def give_token(self, token: str) -> None:
        """Let it ask with a bootstrap token."""
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(f"{token}\n")
        self.write(bootstrap={"token_file": str(self.token_file)})

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "certrotd", *arguments, "-c", str(self.config)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the group to its end."""
        argv = self.command("kubelet", *arguments)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command of the group."""
        argv = self.command("kubelet", *arguments)
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def done(self, *arguments: str) -> dict[str, Any]:
        """Run a command that must succeed; returns what it says of the last purpose."""
        ended = self.run(*arguments, "-o", "json")
        assert ended.returncode == 0, ended.stderr + ended.stdout
        found: dict[str, Any] = json.loads(ended.stdout)["kubelet"][-1]
        return found

    def current(self, kind: str = "client") -> Path:
        return self.pki / f"kubelet-{kind}-current.pem"

    def leaf(self, kind: str = "client") -> ParsedCertificate:
        """What the kubelet would start with."""
        return parse_certificate(split_pem(self.current(kind).read_bytes())[0])

    def put(self, pair: Pair, kind: str = "client") -> None:
        """Put a pair into the store as the kubelet does."""
        self.pki.mkdir(exist_ok=True)
        path = self.pki / f"kubelet-{kind}-2026-01-01-00-00-00.pem"
        path.touch(mode=0o600)
        path.write_bytes(pair.certificate + pair.key)
        self.current(kind).unlink(missing_ok=True)
        self.current(kind).symlink_to(path)

    def requests(self) -> list[Json]:
        """The requests of this node there are, oldest first."""
        found = self.lab.admin.call("GET", CSRS_PATH)["items"]
        mine = [e for e in found if e["metadata"]["name"].startswith("certrotd-kubelet-")]
        return sorted(
            (e for e in mine if self._asks_for_me(e)),
            key=lambda e: str(e["metadata"]["creationTimestamp"]),
        )

    def _asks_for_me(self, request: Json) -> bool:
        parsed = parse_request(base64.b64decode(request["spec"]["request"]))
        return parsed.common_names == (f"system:node:{self.name}",)

    def rule(self, request: str, kind: str, message: str = "by a person") -> None:
        """Approve or deny as an administrator, or fail as a signer."""
        part = "status" if kind == "Failed" else "approval"
        path = f"{CSRS_PATH}/{request}"
        present = self.lab.admin.call("GET", path)
        present.setdefault("status", {}).setdefault("conditions", []).append(
            {"type": kind, "status": "True", "reason": "Test", "message": message}
        )
        self.lab.admin.call("PUT", f"{path}/{part}", body=present)

    def pending(self) -> str:
        """Wait for a request that nobody has ruled on; returns its name."""

        def names() -> list[str]:
            return [
                str(each["metadata"]["name"])
                for each in self.requests()
                if not (each.get("status") or {}).get("conditions")
            ]

        self.lab.until(names, f"a pending request of {self.name}")
        return names()[-1]

    def readdress(self, *addresses: tuple[str, str]) -> None:
        """Give the Node other addresses, as its kubelet would."""
        status = {"addresses": [{"type": t, "address": a} for t, a in addresses]}
        path = f"{NODES_PATH}/{self.name}/status"
        node = self.lab.admin.call("GET", f"{NODES_PATH}/{self.name}")
        node["status"] = {**node.get("status", {}), **status}
        self.lab.admin.call("PUT", path, body=node)
