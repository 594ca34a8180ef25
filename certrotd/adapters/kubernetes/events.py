"""Events (events.k8s.io/v1) about requests, as `kubectl describe csr` shows them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from certrotd.core.model.kubelets import Ruling

if TYPE_CHECKING:
    from datetime import datetime

    from certrotd.adapters.kubernetes.connection import ApiConnection
    from certrotd.core.model.kubelets import SubmittedRequest, Verdict
    from certrotd.ports import Clock

COMPONENT = "certrotd.io/kubelet-approver"
NAMESPACE = "default"
"""Where Kubernetes keeps the events of what is in no namespace."""
PATH = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
_LONGEST_NOTE = 1024
_LONGEST_NAME = 220
_WORDS = {
    Ruling.APPROVED: "Approved",
    Ruling.DENIED: "Denied",
    Ruling.PENDING: "LeftPending",
    Ruling.PASSED_OVER: "PassedOver",
}


class EventRecorder:
    """Writes one Event for each call; `instance` tells the instances of the approver apart."""

    def __init__(self, connection: ApiConnection, clock: Clock, instance: str) -> None:
        self._connection = connection
        self._clock = clock
        self._instance = instance
        self._numbers = itertools.count(1)

    def record(self, request: SubmittedRequest, verdict: Verdict) -> None:
        """Tell of a verdict.

        Raises:
            ApiUnavailable, ApiRefused: it was not recorded.
        """
        now = self._clock.now()
        approved = verdict.ruling is Ruling.APPROVED
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": self._name(request, now), "namespace": NAMESPACE},
            "eventTime": micro_time(now),
            "reportingController": COMPONENT,
            "reportingInstance": self._instance,
            "action": "Judge",
            "reason": reason(verdict),
            "type": "Normal" if approved else "Warning",
            "note": f"{verdict.rule}: {verdict.detail}"[:_LONGEST_NOTE],
            "regarding": {
                "apiVersion": "certificates.k8s.io/v1",
                "kind": "CertificateSigningRequest",
                "name": request.name,
                "uid": request.uid,
            },
        }
        self._connection.call("POST", PATH, body=body)

    def _name(self, request: SubmittedRequest, now: datetime) -> str:
        unique = f"{int(now.timestamp() * 1e6):x}{next(self._numbers):x}"
        return f"{request.name[:_LONGEST_NAME].rstrip('.-')}.{unique}"


def reason(verdict: Verdict) -> str:
    """Return the reason of an Event: the ruling and the rule that decided."""
    word = _WORDS[verdict.ruling]
    return word if verdict.ruling is Ruling.APPROVED else f"{word}By{verdict.rule.title()}"


def micro_time(moment: datetime) -> str:
    """Write a MicroTime: always with six digits, anything else is refused."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
