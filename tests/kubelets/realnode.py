"""A real node whose kubelet runs under a supervisor, with certrotd beside it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from certrotd.adapters.ca import AuthorityIssuer
from certrotd.core import kubelets, x509
from certrotd.core.kubelets import Cause, Wanted
from certrotd.core.model import Secret, SigningRequest
from certrotd.core.model.kubelets import Purpose
from tests.kubelets.lab import BOOTSTRAPPERS, CSRS_PATH
from tests.testbed import restartctl, staticpods
from tests.testbed.build import ensure
from tests.testbed.inventory import NODE
from tests.testbed.kubeapi import ApiAnswered
from tests.testbed.staticpods import ADDRESS, StaticPodNode
from tests.testbed.supervise import argv_file

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT = Path(__file__).parents[2]
ROLES = "system:certificates.k8s.io:certificatesigningrequests"
PATIENCE = 120.0
PKI = "/var/lib/kubelet/pki"
KUBECONFIG = "/etc/kubernetes/kubelet.conf"
_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


class RealNode(StaticPodNode):
    """A kubeadm master; its kubelet can be restarted by a command and serves what it is given."""

    def _start_kubelet(self) -> None:
        config = staticpods._KUBELET | {"serverTLSBootstrap": True}
        self.namespaces.path("/var/lib/kubelet/config.yaml").write_text(yaml.safe_dump(config))
        self.supervised = self.directory / "supervised"
        self.supervised.mkdir()
        self.set_kubelet_address(ADDRESS)
        self.kubelet = self.namespaces.process(
            "kubelet-supervisor",
            "/usr/bin/env",
            f"PYTHONPATH={_ROOT}",
            sys.executable,
            "-m",
            "tests.testbed.supervise",
            "kubelet",
            self.supervised,
        ).start()

    def set_kubelet_address(self, address: str) -> None:
        """Say which address the kubelet reports; it does so from its next start on."""
        argv = (
            str(ensure("kubelet")),
            "--config=/var/lib/kubelet/config.yaml",
            f"--kubeconfig={KUBECONFIG}",
            # As kubeadm's unit has it; the file is there only while a node joins.
            "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
            f"--hostname-override={NODE}",
            f"--node-ip={address}",
        )
        argv_file(self.supervised, "kubelet").write_text(json.dumps(argv))

    def restart_kubelet(self) -> None:
        """Restart it in place."""
        self.namespaces.run(sys.executable, restartctl.__file__, "kubelet", self.supervised)

    def move_kubelet(self, address: str) -> None:
        """Restart the kubelet with another address; the supervisor reads its argv once."""
        self.kubelet.stop()
        self.set_kubelet_address(address)
        self.kubelet.start()

    def forget_requests(self) -> None:
        """Let the pause after earlier requests be over."""
        for record in self.namespaces.path("/var/lib/certrotd/kubelet").glob("*.json"):
            document = json.loads(record.read_text())
            record.write_text(json.dumps(document | {"requests": []}))

    def kubelet_starts(self) -> int:
        """How often the kubelet was started."""
        return int(restartctl.start_count(self.supervised, "kubelet").read_text())

    def kubelet_log(self) -> str:
        return (self.supervised / "kubelet.log").read_text(errors="replace")

    def configure(self, **section: object) -> None:
        """Write certrotd's configuration."""
        restart = [sys.executable, restartctl.__file__, "kubelet", str(self.supervised)]
        document = {
            "log": {"format": "json"},
            "issuers": {},
            "components": {},
            "kubelet": {
                "node_name": NODE,
                "server": f"https://{ADDRESS}:6443",
                "purposes": ["client", "serving"],
                "restart": {"exec": {"command": restart}},
                "bootstrap": {"token_file": "/etc/certrotd/token"},
                **section,
            },
        }
        home = self.namespaces.path("/etc/certrotd")
        (home / "certrotd.yaml").write_text(yaml.safe_dump(document))
        (home / "token").touch(mode=0o600)
        (home / "token").write_text("abcdef.0123456789abcdef\n")

    def grant(self) -> None:
        """What `kubeadm init` does for nodes that join, and a token."""
        group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group"}
        for number, (role, who) in enumerate(
            (
                ("system:node-bootstrapper", BOOTSTRAPPERS),
                (f"{ROLES}:nodeclient", BOOTSTRAPPERS),
                (f"{ROLES}:selfnodeclient", "system:nodes"),
            )
        ):
            reference = {"apiGroup": group["apiGroup"], "kind": "ClusterRole", "name": role}
            body = {
                "metadata": {"name": f"test-{number}"},
                "roleRef": reference,
                "subjects": [group | {"name": who}],
            }
            self.client("super-admin").request("POST", _BINDINGS, body)
        data = {
            "token-id": "abcdef",
            "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": BOOTSTRAPPERS,
        }
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        body = {
            "metadata": {"name": "bootstrap-token-abcdef"},
            "type": "bootstrap.kubernetes.io/token",
            "data": encoded,
        }
        self.client("super-admin").request("POST", "/api/v1/namespaces/kube-system/secrets", body)

    def command(self, *arguments: str) -> list[str]:
        """Certrotd inside the node."""
        inside = (sys.executable, "-m", "certrotd", "kubelet", *arguments)
        environment = ("/usr/bin/env", f"PYTHONPATH={_ROOT}")
        return self.namespaces.argv(*environment, *inside, "-c", "/etc/certrotd/certrotd.yaml")

    def certrotd(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the group to its end."""
        argv = self.command(*arguments)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)

    def start_certrotd(self, *arguments: str) -> subprocess.Popen[str]:
        argv = self.command(*arguments)
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def current(self, kind: str = "client") -> Path:
        """The pair in use, as this process reaches it; links are the node's own."""
        link = self.namespaces.path(f"{PKI}/kubelet-{kind}-current.pem")
        return self.namespaces.path(str(link.readlink()))

    def serial(self, kind: str = "client") -> str:
        return x509.parse_certificate(x509.split_pem(self.current(kind).read_bytes())[0]).serial

    def put_expired(self) -> None:
        """Let the store hold what was the node's certificate a while ago; the CA is minutes old."""
        ca = self.namespaces.path("/etc/kubernetes/pki")
        then = datetime.now(UTC) - timedelta(minutes=3)  # noqa: TID251  # the node's real clock
        issuer = AuthorityIssuer(
            (ca / "ca.crt").read_bytes(), Secret((ca / "ca.key").read_bytes()), clock=lambda: then
        )
        wanted = Wanted(node=NODE, purpose=Purpose.CLIENT)
        attempt = kubelets.begin(wanted, Cause.MISSING, then)
        spec = kubelets.specification(wanted, timedelta(minutes=1))
        chain = issuer.sign(SigningRequest(spec=spec, csr_pem=attempt.request)).chain
        self.current().write_bytes(b"".join(chain) + attempt.private_key.reveal())

    def pending(self) -> str:
        """Wait for a request of certrotd's that nobody has ruled on; returns its name."""

        def names() -> list[str]:
            found = self.client().request("GET", CSRS_PATH)["items"]
            return [
                str(each["metadata"]["name"])
                for each in found
                if each["metadata"]["name"].startswith("certrotd-kubelet-")
                and not (each.get("status") or {}).get("conditions")
            ]

        self.until(names, "a pending request")
        return names()[0]

    def approve(self, request: str) -> None:
        """As an administrator."""
        present = self.client().request("GET", f"{CSRS_PATH}/{request}")
        present["status"] = {
            "conditions": [
                {"type": "Approved", "status": "True", "reason": "Test", "message": "by a person"}
            ]
        }
        self.client().request("PUT", f"{CSRS_PATH}/{request}/approval", present)

    def approved(self, request: str) -> bool:
        """Approve it, and tell that it is."""
        self.approve(request)
        return True

    def node_object(self) -> dict[str, Any]:
        return self.client().request("GET", f"/api/v1/nodes/{NODE}")

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until something holds; an API server that is away does not."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if holds():
                    return
            except (OSError, ApiAnswered, ValueError):
                pass
            assert time.monotonic() < deadline, f"{what}\n{self.kubelet_log()[-3000:]}"
            time.sleep(0.3)
