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
KERNEL_DEFAULT = "0"
"""Of each of them (Documentation/networking/ip-sysctl.rst)."""


class HostSetupError(RuntimeError):
    """A sysctl could not be set."""


def apply(root: Path = Path("/proc/sys")) -> None:
    """Set what differs. Raises HostSetupError naming the sysctl."""
    for name, value in SYSCTLS.items():
        _set(root / name, name, value)


def undo(root: Path = Path("/proc/sys")) -> None:
    """Back to the kernel's defaults. Raises HostSetupError naming the sysctl."""
    for name in SYSCTLS:
        _set(root / name, name, KERNEL_DEFAULT)


def _set(file: Path, name: str, value: str) -> None:
    try:
        if file.read_text().strip() != value:
            file.write_text(value)
    except OSError as error:
        raise HostSetupError(
            f"{name.replace('/', '.')}: cannot be set to {value} ({error.strerror}); the container must be privileged"
        ) from error
