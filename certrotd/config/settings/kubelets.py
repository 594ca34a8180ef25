"""Sections about kubelets: who approves and signs what they ask for."""

# No `from __future__ import annotations`: the annotations are read while certrotd runs.

from datetime import timedelta
from typing import Literal

from certrotd.config.section import Section
from certrotd.config.settings.words import (
    Count,
    Duration,
    Flag,
    HttpsUrl,
    Name,
    Network,
    Path,
    Period,
    Text,
)
from certrotd.core.model import KeyAlgorithm
from certrotd.core.model.kubelets import RESERVED


class ClusterAccess(Section):
    """Which kube-apiserver, and as whom: a kubeconfig, or a server with files.

    With nothing given it is a pod's own service account.
    """

    kubeconfig: Path | None = None
    """A kubeconfig, best one that names its files."""
    server: HttpsUrl | None = None
    """The API server's address."""
    ca_file: Path | None = None
    """The CA that signed the API server's certificate; goes with `server`."""
    certificate: Path | None = None
    """The client certificate, PEM; goes with `server`."""
    key: Path | None = None
    """Its private key, PEM."""
    token_file: Path | None = None
    """A file with a token, in place of a client certificate."""


class KubeletPolicy(Section):
    """What is approved; all else is not."""

    purposes: tuple[Literal["client", "serving"], ...] = ("client", "serving")
    """Which of a kubelet's two signers are looked after; requests of others are not touched."""
    bootstrap_groups: tuple[Text, ...] = ()
    """Groups that may ask for the first certificate of a node, as bootstrap tokens do."""
    rejoin_after: Duration = timedelta(hours=1)
    """After so long without its kubelet the name of a node may be asked for with a token again."""
    trust_nodes: Flag = True
    """Whether the addresses in Node objects count; kubelets report those of their nodes."""
    inventory: Path | None = None
    """A YAML file `node: [names and addresses]` that somebody else than the kubelets keeps."""
    resolve: Flag = False
    """Whether a name counts as a node's if it resolves to addresses of the node alone."""
    networks: tuple[Network, ...] = ()
    """Where the addresses of nodes may lie; anywhere but on loopback if left out."""
    reserved_names: tuple[Text, ...] = RESERVED
    """DNS names that are never approved; one that begins with a dot stands for all below it."""
    keys: tuple[KeyAlgorithm, ...] = tuple(KeyAlgorithm)
    """Key types and sizes that are good enough."""
    shortest: Period = timedelta(minutes=10)
    """The shortest life that may be asked for."""
    longest: Period = timedelta(days=366)
    """The longest life that may be asked for."""
    per_hour: Count = 6
    """How many certificates of one purpose a node gets in an hour."""
    not_within: Duration = timedelta(0)
    """No second certificate while the first is younger than this."""
    most_dns_names: Count = 4
    """How many DNS names one certificate may have."""


class KubeletIssuer(Section):
    """Who signs for one purpose."""

    issuer: Name
    """The name of an entry under `issuers`."""
    role: Text
    """The role there."""
    ttl: Period = timedelta(days=30)
    """How long a certificate is valid if its request does not say."""


class KubeletSigners(Section):
    """Who signs in place of kube-controller-manager."""

    client: KubeletIssuer | None = None
    """kubernetes.io/kube-apiserver-client-kubelet."""
    serving: KubeletIssuer | None = None
    """kubernetes.io/kubelet-serving."""


class ApproverLease(Section):
    """The Lease that only one instance holds."""

    namespace: Name = "kube-system"
    """Its namespace."""
    name: Name = "certrotd-kubelet-approver"
    """Its name."""


class KubeletGuard(Section):
    """What `certrotd kubelet guard` looks at besides the cluster."""

    signing_ca: Path | None = None
    """The CA certificate that signs for kubelets, PEM; its issuers' anchors if left out."""
    bootstrap_group: Text = "system:bootstrappers:kubeadm:default-node-token"
    """A group of new nodes, whose rights are looked at."""
    pending_warning: Period = timedelta(minutes=15)
    """A request that waits for longer is worth a warning."""
    pending_critical: Period = timedelta(hours=1)
    """A request that waits for longer is an alarm."""


class KubeletApprover(Section):
    """The approver of kubelets' requests, and the signer: `certrotd kubelet approve`."""

    api: ClusterAccess = ClusterAccess()
    """Which kube-apiserver, and as whom."""
    policy: KubeletPolicy = KubeletPolicy()
    """What is approved."""
    signers: KubeletSigners = KubeletSigners()
    """Who signs; kube-controller-manager if left out."""
    lease: ApproverLease = ApproverLease()
    """The Lease that only one instance holds."""
    guard: KubeletGuard = KubeletGuard()
    """What `certrotd kubelet guard` looks at."""
