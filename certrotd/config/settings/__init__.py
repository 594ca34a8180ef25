"""The configuration file's shape: one class a section, one annotated name a key.

The text under a key is its description in the JSON Schema.
"""

# No `from __future__ import annotations`: the annotations are read while certrotd runs.

from collections.abc import Mapping
from datetime import time, timedelta
from types import MappingProxyType
from typing import Literal

from certrotd.config.section import Section
from certrotd.config.settings.activations import (
    Activation,
    ActivationCommand,
    Auto,
    Command,
    Container,
    Nothing,
    Process,
    Restart,
    Signal,
    StaticPod,
    VersionSource,
)
from certrotd.config.settings.components import Certificate, Component, Output, ReadFile
from certrotd.config.settings.issuers import (
    AppRole,
    Auth,
    Authority,
    CertificateLogin,
    Issuer,
    ServiceAccount,
    TokenRole,
    Vault,
    VaultPki,
)
from certrotd.config.settings.kubelet import Bootstrap, Kubelet, VaultSecret
from certrotd.config.settings.kubelets import (
    ApproverLease,
    ClusterAccess,
    KubeletApprover,
    KubeletGuard,
    KubeletIssuer,
    KubeletPolicy,
    KubeletSigners,
)
from certrotd.config.settings.preset import Preset, PresetIssuers
from certrotd.config.settings.probes import (
    ApiserverGate,
    ClientProof,
    EtcdGate,
    Gate,
    HttpGate,
    LeaseGate,
    Proof,
    StartedProof,
    TcpGate,
    TlsProof,
)
from certrotd.config.settings.words import Count, Duration, Name, Path, Period, Text, TimeOfDay
from certrotd.core.model import KeyAlgorithm

__all__ = [
    "Activation",
    "ActivationCommand",
    "ApiserverGate",
    "AppRole",
    "ApproverLease",
    "Auth",
    "Authority",
    "Auto",
    "Bootstrap",
    "Certificate",
    "CertificateLogin",
    "ClientProof",
    "ClusterAccess",
    "Command",
    "Component",
    "Container",
    "Defaults",
    "EtcdGate",
    "Gate",
    "HttpGate",
    "Issuer",
    "Kubelet",
    "KubeletApprover",
    "KubeletGuard",
    "KubeletIssuer",
    "KubeletPolicy",
    "KubeletSigners",
    "LeaseGate",
    "Limits",
    "LogSettings",
    "Nothing",
    "Output",
    "Preset",
    "PresetIssuers",
    "Process",
    "Proof",
    "ReadFile",
    "Restart",
    "Root",
    "Schedule",
    "ServiceAccount",
    "Signal",
    "StartedProof",
    "StaticPod",
    "TcpGate",
    "TlsProof",
    "TokenRole",
    "Vault",
    "VaultPki",
    "VaultSecret",
    "VersionSource",
]


class Schedule(Section):
    """When the daily slot is."""

    daily_at: TimeOfDay = time(3, 17)
    """Its time of day in UTC."""
    splay: Duration = timedelta(minutes=30)
    """It is moved later by a share of this, fixed for each node (by a hash)."""


class Defaults(Section):
    """What certificates and outputs use when they say nothing."""

    key: KeyAlgorithm = KeyAlgorithm.ECDSA_P256
    """Key type and size."""
    ttl: Period = timedelta(days=7)
    """How long certificates shall be valid."""
    owner: Text | None = None
    """Owner of outputs."""
    group: Text | None = None
    """Group of outputs."""


class LogSettings(Section):
    """Logging."""

    format: Literal["auto", "console", "json"] = "auto"
    """`auto`: console on a terminal, JSON otherwise."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is shown."""


class Limits(Section):
    """Bounds."""

    workers: Count = 4
    """How many certificates are signed at a time."""
    issuances_per_day: Count = 10
    """How many signatures may be asked for one certificate in 24 hours."""
    clock_skew: Duration = timedelta(seconds=30)
    """How far this node's clock may be from the issuer's."""
    history: Count = 3
    """How many earlier generations of a certificate are kept for rollback."""
    grace: Duration = timedelta(seconds=2)
    """How long a replaced generation stays readable."""


class Root(Section):
    """The certrotd configuration."""

    cluster: Name = "kubernetes"
    """The cluster's name; with the node's name it fixes the slot's splay."""
    node: Name | None = None
    """This node's name; the host name if left out."""
    state_directory: Path = "/var/lib/certrotd"
    """Journal, history, lock and hold."""
    schedule: Schedule = Schedule()
    """When the daily slot is."""
    log: LogSettings = LogSettings()
    """Logging."""
    limits: Limits = Limits()
    """Bounds."""
    defaults: Defaults = Defaults()
    """What certificates and outputs use when they say nothing."""
    preset: Preset | None = None
    """A whole inventory that the rest of this file is laid over."""
    vaults: Mapping[Name, Vault] = MappingProxyType({})
    """Vault or OpenBao servers by name."""
    issuers: Mapping[Name, Issuer]
    """Issuers by name."""
    components: Mapping[Name, Component] = MappingProxyType({})
    """Components by name."""
    kubelet_approver: KubeletApprover | None = None
    """The approver of kubelets' requests: `certrotd kubelet approve`."""
    kubelet: Kubelet | None = None
    """This node's own kubelet."""
