"""A component that is a static pod of this node's kubelet: restart it, by one of two ways.

`cri`: its container is stopped through the runtime and the kubelet starts the next at once, in the
same pod. `manifest`: an annotation in its manifest is changed, and the kubelet makes a new pod some
12 to 16 s later. While the kubelet's own API server, or the etcd below it, is down, the kubelet
cannot delete the old pod's mirror: then the second way takes up to a minute.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from certrotd.adapters.cri import manifest as manifests
from certrotd.adapters.cri.containers import Phase, Refused, Unreachable
from certrotd.adapters.cri.kubelet import KubeletView, check_health
from certrotd.adapters.cri.pods import Pods, PodView
from certrotd.adapters.cri.restarting import stop_and_wait
from certrotd.adapters.cri.runtime import Runtime
from certrotd.adapters.cri.watching import Deadline, NotBack, wait_for_successors
from certrotd.core.errors import ActivationFailed
from certrotd.core.model import ServiceState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certrotd.adapters.cri.containers import View
    from certrotd.adapters.cri.manifest import Manifest

RUNTIME_ENDPOINT = "/run/containerd/containerd.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticPodRestart:
    """Restarts a static pod and waits, at most `timeout`, until new containers run steadily.

    `pod` and `namespace` are those of `manifest`, the file's path; `container` narrows it to one of
    its containers. The way `auto` is `cri`, and `manifest` only if no runtime can be asked; never
    so for a component that `serves_kubelet`. `grace` is, for the way `cri`, what a container has
    for its end, if not its pod's own grace period: kube-apiserver uses up all of it, without
    serving, as long as somebody watches. `endpoint` is the runtime's socket, `kubelet_pods` the
    kubelet's `/pods` to look at where there is none, `kubelet_health` its `/healthz`: a container
    is stopped only if a kubelet is there to start the next.
    """

    pod: str
    manifest: str
    timeout: timedelta
    namespace: str = "kube-system"
    way: Literal["auto", "cri", "manifest"] = "auto"
    endpoint: str = RUNTIME_ENDPOINT
    container: str | None = None
    grace: timedelta | None = None
    serves_kubelet: bool = False
    kubelet_pods: str | None = None
    kubelet_health: str | None = None
    component: str = ""

    def state(self) -> ServiceState:
        """Tell whether the pod should be up.

        RUNNING: its manifest is there, even if its container has ended: nobody wanted that.
        STOPPED: there is no manifest. UNKNOWN: it cannot be read, or is another pod's.
        """
        try:
            self._read()
        except manifests.Absent:
            return ServiceState.STOPPED
        except manifests.Unfit:
            return ServiceState.UNKNOWN
        return ServiceState.RUNNING

    def started(self) -> datetime | None:
        """Return when the oldest of its running containers was created, shortly before its start.

        None if none runs, or neither runtime nor kubelet can be asked.
        """
        try:
            manifest = self._read()
            with self._view(manifest) as view:
                seen = view.containers()
        except (manifests.Unfit, Unreachable, Refused):
            return None
        names = self._names(manifest)
        running = [each for each in seen if each.phase is Phase.RUNNING and each.name in names]
        return min((each.created for each in running if each.created), default=None)

    def activate(self) -> None:
        """Restart the pod.

        Raises:
            ActivationFailed: its manifest cannot be used, nobody can be asked, or it did not come
                back; the end of its log is in the message.
        """
        deadline = Deadline(self.timeout.total_seconds())
        try:
            manifest = self._read()
            self._refuse_a_twin(manifest)
            if self.kubelet_health is not None:
                check_health(self.kubelet_health)
            self._restart(manifest, deadline)
        except manifests.Unfit as e:
            raise self._failed(str(e), "correct the manifest, or the component's settings") from e
        except (Unreachable, Refused) as e:
            raise self._failed(str(e), self._hint()) from e
        except NotBack as e:
            hint = "crictl ps -a; journalctl -u kubelet"
            if self.way == "manifest" and self.serves_kubelet:
                hint += "; the kubelet itself waits for it, which takes up to a minute"
            raise self._failed(str(e), hint) from e

    def _restart(self, manifest: Manifest, deadline: Deadline) -> None:
        names = self._names(manifest)
        if self._way() == "cri":
            if manifest.restart_policy != "Always":
                raise manifests.Unfit(
                    f"{manifest.path}: its restartPolicy is {manifest.restart_policy}, so a "
                    "stopped container would stay down"
                )
            with Runtime(self.endpoint) as runtime:
                view = PodView(runtime, self._pods(manifest))
                stop_and_wait(runtime, view, names, deadline, self.grace)
            return
        value = f"{datetime.fromtimestamp(time.time(), UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        text = manifests.annotated(manifest, value)
        with self._view(manifest) as found:
            known = frozenset(each.id for each in found.containers())
            manifests.put(manifest, text)
            wait_for_successors(found, known, names, deadline)

    def _way(self) -> Literal["cri", "manifest"]:
        """Decide on the way.

        Raises:
            Unreachable: there is no runtime, and to do without it must be somebody's will.
        """
        if self.way != "auto":
            return self.way
        try:
            with Runtime(self.endpoint) as runtime:
                runtime.version()
        except Unreachable:
            if self.serves_kubelet:
                raise
            return "manifest"
        return "cri"

    @contextlib.contextmanager
    def _view(self, manifest: Manifest) -> Iterator[View]:
        """Look through the runtime, or through the kubelet if there is none.

        Raises:
            Unreachable: neither can be asked.
        """
        pods = self._pods(manifest)
        with contextlib.ExitStack() as stack:
            try:
                runtime = stack.enter_context(Runtime(self.endpoint))
                runtime.version()
                view: View = PodView(runtime, pods)
            except Unreachable:
                if self.kubelet_pods is None:
                    raise
                view = KubeletView(self.kubelet_pods, pods.is_ours)
            yield view

    def _read(self) -> Manifest:
        found = manifests.read(self.manifest)
        if (found.namespace, found.pod) != (self.namespace, self.pod):
            raise manifests.Unfit(
                f"{self.manifest}: it is pod {found.namespace}/{found.pod}, not "
                f"{self.namespace}/{self.pod}"
            )
        if self.container is not None and self.container not in found.containers:
            raise manifests.Unfit(f"{self.manifest}: it has no container {self.container}")
        return found

    def _refuse_a_twin(self, manifest: Manifest) -> None:
        for other in manifests.neighbours(manifest.path):
            if (other.namespace, other.pod) == (manifest.namespace, manifest.pod):
                raise manifests.Unfit(
                    f"{manifest.path} and {other.path} are both manifests of pod "
                    f"{manifest.namespace}/{manifest.pod}; the kubelet runs either"
                )

    def _names(self, manifest: Manifest) -> frozenset[str]:
        return frozenset(manifest.containers if self.container is None else (self.container,))

    def _pods(self, manifest: Manifest) -> Pods:
        others = manifests.neighbours(manifest.path)
        names = frozenset(each.pod for each in others if each.namespace == manifest.namespace)
        return Pods(manifest.namespace, manifest.pod, names)

    def _hint(self) -> str:
        if self.way == "auto" and self.serves_kubelet:
            return (
                "set `way: manifest` to have it restarted without the runtime; as the kubelet "
                "needs it itself, it is then down for up to a minute"
            )
        return "is the container runtime running, and the kubelet?"

    def _failed(self, cause: str, hint: str) -> ActivationFailed:
        return ActivationFailed(
            f"static pod {self.namespace}/{self.pod} could not be restarted: {cause}",
            component=self.component,
            hint=hint,
        )
