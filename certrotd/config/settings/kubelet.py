"""The section about this node's own kubelet, which is never part of the daily run."""

# No `from __future__ import annotations`: the annotations are read while certrotd runs.

from datetime import timedelta
from typing import Literal

from certrotd.config.section import Section
from certrotd.config.settings.activations import Restart
from certrotd.config.settings.words import (
    Address,
    DnsName,
    Duration,
    HostPort,
    HttpsUrl,
    Mount,
    Name,
    Path,
    Period,
    Text,
)
from certrotd.core.model import KeyAlgorithm


class VaultSecret(Section):
    """A secret in Vault's key-value engine (version 1 or 2)."""

    connection: Name
    """The name of an entry under `vaults`."""
    path: Mount
    """Its path in the API: `secret/data/kubelets` in version 2, `secret/kubelets` in version 1."""
    field: Text = "token"
    """The field that holds it."""


class Bootstrap(Section):
    """Where a bootstrap token lies, for a node without a valid client certificate; exactly one.

    It is read anew each time it is needed.
    """

    one_of = ("token_file", "credential", "vault")
    token_file: Path | None = None
    """A file with the token alone; it must not be readable by others."""
    credential: Name | None = None
    """The name of a systemd credential (LoadCredential=) with the token."""
    vault: VaultSecret | None = None
    """A field of a secret in Vault."""


class Kubelet(Section):
    """The net below this node's kubelet: it replaces what the kubelet itself has not.

    A kubelet replaces its certificates by itself when 10 to 30 % of their life are left. certrotd
    acts when one is missing, damaged, ended or about to end, when a serving certificate lacks a
    name of the node, and when it is told to.
    """

    node_name: Name | None = None
    """The Node's name; the key `node`, in lower case, if left out."""
    server: HttpsUrl
    """The API server's address, best one that all of them share."""
    ca_file: Path = "/etc/kubernetes/pki/ca.crt"
    """The CA that signed the API server's certificate, PEM."""
    trust_anchors: Path | None = None
    """The pinned CA certificates that kubelets' certificates must build to; `ca_file` if left
    out."""
    directory: Path = "/var/lib/kubelet/pki"
    """The kubelet's certificate directory (its flag `--cert-dir`)."""
    kubeconfig: Path = "/etc/kubernetes/kubelet.conf"
    """The kubelet's kubeconfig; written where it is missing or its certificate has ended."""
    purposes: tuple[Literal["client", "serving"], ...] = ("client",)
    """`serving` too where the kubelet has `serverTLSBootstrap: true`."""
    dns_names: tuple[DnsName, ...] = ()
    """Names of its serving certificate; with `ip_addresses` those of the Node object if left
    out."""
    ip_addresses: tuple[Address, ...] = ()
    """Addresses of its serving certificate."""
    key: KeyAlgorithm = KeyAlgorithm.ECDSA_P256
    """Key type and size."""
    lifetime: Period | None = None
    """How long a certificate shall be valid, 10m at least; the signer decides if left out."""
    bootstrap: Bootstrap | None = None
    """As whom a node asks that has no valid client certificate any more."""
    restart: Restart = Restart(unit="kubelet.service")
    """How the kubelet is restarted: it reads its certificates only when it starts."""
    health: HostPort = "127.0.0.1:10248"
    """Where it answers `/healthz`."""
    serving: HostPort = "127.0.0.1:10250"
    """Where it serves TLS."""
    patience: Duration = timedelta(minutes=5)
    """How long a kubelet is given to replace by itself what is missing or lacks a name."""
    answer_within: Period = timedelta(minutes=15)
    """How long a request may stay without an answer."""
    settle_within: Period = timedelta(minutes=5)
    """How long the restarted kubelet may take until it and its Node are well."""
    connect_timeout: Period = timedelta(seconds=5)
    """Time limit for connecting to the API server."""
    read_timeout: Period = timedelta(seconds=20)
    """Time limit for one answer of the API server."""
