"""Which of the runtime's pods is the one of a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.adapters.cri.containers import POD_NAME, POD_NAMESPACE, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certrotd.adapters.cri.containers import Container
    from certrotd.adapters.cri.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Pods:
    """Tells the pods of the static pod `name` from others.

    The kubelet calls a static pod `<name>-<node>`. As the node's name may hold dashes, and the node
    may have both `etcd` and `etcd-events`, a pod belongs to the longest name that fits;
    `neighbours` are the names of the other static pods of the node and namespace.
    """

    namespace: str
    name: str
    neighbours: frozenset[str] = frozenset()

    def is_ours(self, namespace: str, pod: str) -> bool:
        """Whether a static pod of the kubelet is this one."""
        if namespace != self.namespace or not _fits(pod, self.name):
            return False
        return not any(
            len(other) > len(self.name) and _fits(pod, other) for other in self.neighbours
        )

    def pick(self, names: Iterable[str]) -> str | None:
        """Return which of the static pods in the namespace is this one; None if it is not there.

        Raises:
            Refused: several could be.
        """
        found = sorted({each for each in names if self.is_ours(self.namespace, each)})
        if len(found) > 1:
            raise Refused(f"several pods could be {self.name}: {', '.join(found)}")
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class PodView:
    """The containers of one static pod, as the runtime has them."""

    runtime: Runtime
    pods: Pods

    def containers(self) -> tuple[Container, ...]:
        """Return all containers of the pod and of the pods it was before."""
        labels = {POD_NAMESPACE: self.pods.namespace}
        static = [each for each in self.runtime.sandboxes(labels) if each.static]
        # What is left of a pod that was taken away looks like a namesake for a while.
        pod = self.pods.pick(each.pod for each in static if each.ready)
        pod = pod or self.pods.pick(each.pod for each in static)
        return () if pod is None else self.runtime.containers(labels | {POD_NAME: pod})

    def ending(self, container: Container) -> str:
        """Say how a container ended."""
        return self.runtime.ending(container)


def _fits(pod: str, name: str) -> bool:
    return pod.startswith(f"{name}-")
