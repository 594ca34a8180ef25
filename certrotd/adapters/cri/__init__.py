"""Components in containers: static pods of the kubelet, and containers known by their labels."""

from certrotd.adapters.cri.container import ContainerRestart
from certrotd.adapters.cri.staticpod import StaticPodRestart

__all__ = ["ContainerRestart", "StaticPodRestart"]
