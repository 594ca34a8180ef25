"""Looking at listeners from outside: TCP, TLS and HTTPS, and what etcd and Kubernetes say there."""

from certrotd.adapters.probes.apiserver import ApiserverGate
from certrotd.adapters.probes.etcd import EtcdGate, LeaderMovedFirst
from certrotd.adapters.probes.http import ClientProof, HttpGate
from certrotd.adapters.probes.lease import LeaseGate
from certrotd.adapters.probes.tls import TcpGate, TlsProof
from certrotd.adapters.probes.version import HttpVersion, LoopbackCertificate

__all__ = [
    "ApiserverGate",
    "ClientProof",
    "EtcdGate",
    "HttpGate",
    "HttpVersion",
    "LeaderMovedFirst",
    "LeaseGate",
    "LoopbackCertificate",
    "TcpGate",
    "TlsProof",
]
