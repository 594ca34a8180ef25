"""kube-apiserver, over the official client: requests for certificates, nodes, events, a Lease."""

from certrotd.adapters.kubernetes.connection import ApiConnection, ApiServer
from certrotd.adapters.kubernetes.election import LeaseLeadership
from certrotd.adapters.kubernetes.events import EventRecorder
from certrotd.adapters.kubernetes.inspection import ClusterInspection
from certrotd.adapters.kubernetes.liveness import NodeGate
from certrotd.adapters.kubernetes.nodes import ApiNodes
from certrotd.adapters.kubernetes.requests import ApiSigningRequests

__all__ = [
    "ApiConnection",
    "ApiNodes",
    "ApiServer",
    "ApiSigningRequests",
    "ClusterInspection",
    "EventRecorder",
    "LeaseLeadership",
    "NodeGate",
]
