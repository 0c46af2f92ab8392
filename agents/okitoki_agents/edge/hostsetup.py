"""The node's sysctls, set by the pod's privileged init container.

Kubelet refuses `net.*` sysctls for pods on the host network, hence a container that writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SYSCTLS: Mapping[str, str] = {
    # A standby must bind addresses that it does not hold: rtpengine has no free-bind.
    "net/ipv4/ip_nonlocal_bind": "1",
    # An address answers ARP only on its own interface, and never lends itself to the ARP requests of others.
    "net/ipv4/conf/all/arp_ignore": "1",
    "net/ipv4/conf/all/arp_announce": "2",
}


class HostSetupError(RuntimeError):
    """A sysctl could not be set."""


def apply(root: Path = Path("/proc/sys")) -> None:
    """Set what differs. Raises HostSetupError naming the sysctl."""
    for name, value in SYSCTLS.items():
        file = root / name
        try:
            if file.read_text().strip() != value:
                file.write_text(value)
        except OSError as error:
            raise HostSetupError(
                f"{name.replace('/', '.')}: cannot be set to {value} ({error.strerror}); "
                "the container host-setup must be privileged"
            ) from error
