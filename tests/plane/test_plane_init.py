"""`config init` on a master that the layout `standalone` made: both know the same node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.systemd.node import CONFIG

if TYPE_CHECKING:
    from tests.plane.master import Master

pytestmark = [pytest.mark.systemd, pytest.mark.servers]
SAME = ("common_name", "organizations", "dns_names", "ip_addresses", "uris", "usages", "key")


KUBELET_CA = {("/etc/kubernetes/pki/ca.crt", "kubelet-ca")}


def reads(component: dict[str, Any]) -> set[tuple[str, str]]:
    """The files a component reads, and what each is to it."""
    return {(each["path"], each["material"]) for each in component.get("reads", ())}


def certificates(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What each certificate must be, in an order that does not matter."""
    return {
        name: {
            key: sorted(value) if isinstance(value := each.get(key, []), list) else value
            for key in SAME
        }
        for component in data["components"].values()
        for name, each in component["certificates"].items()
    }


def test_init_finds_what_the_layout_says_and_nothing_to_change(master: Master) -> None:
    state = "/var/lib/certrotd"
    written = master.container.run("certrotd", "config", "init", "--from-systemd").stdout
    master.container.write("/etc/init/certrotd.yaml", f"state_directory: {state}\n{written}", 0o600)
    command = ("certrotd", "config", "show", "-o", "yaml", "-c")
    found = yaml.safe_load(master.container.run(*command, "/etc/init/certrotd.yaml").stdout)
    layout = yaml.safe_load(master.container.run(*command, CONFIG).stdout)
    assert certificates(found) == certificates(layout)
    for name, section in layout["components"].items():
        assert found["components"][name].get("after") == section.get("after"), name
        # The layout has a CA for kubelets, which the units of this master do not name.
        assert reads(section) - reads(found["components"][name]) <= KUBELET_CA, name
    plan = master.certrotd("plan", "-c", "/etc/init/certrotd.yaml")
    assert plan["steps"] == []
    # Every proof and gate of it holds, asked for with what is published.
    status = master.certrotd("status", "-c", "/etc/init/certrotd.yaml")
    assert not [each for each in status["certificates"] if each["served"] is False]
