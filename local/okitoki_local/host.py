"""What the machine itself must have: Debian packages, and kernel limits that suit five nodes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from okitoki_local.progress import step
from okitoki_local.system import CommandFailed, LocalClusterError, is_root, run

# Program -> the Debian package it comes from.
PROGRAMS = {
    "dockerd": "docker.io",
    "containerd": "containerd",
    "runc": "runc",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "nft": "nftables",
    "iptables": "iptables",
    "arping": "iputils-arping",
    "nsenter": "util-linux",
    "sysctl": "procps",
}
SERVICES = ("docker.service", "docker.socket", "containerd.service")
POLICY = Path("/usr/sbin/policy-rc.d")
# Each node runs systemd, containerd and a kubelet; the usual limit of 128 instances ends at the second node.
LIMITS = {"fs.inotify.max_user_instances": 8192, "fs.inotify.max_user_watches": 1048576}


def missing_packages() -> list[str]:
    """Packages whose programs are not on this machine."""
    return [package for program, package in PROGRAMS.items() if shutil.which(program) is None]


def prepare() -> None:
    """Install what is missing and raise the kernel's limits; nothing is started and nothing is lowered."""
    if not is_root():
        raise LocalClusterError(
            "no Docker daemon answers and kind is not installed, so this machine needs a cluster built from source, "
            "and that needs root; or start Docker and install kind"
        )
    if packages := missing_packages():
        with step(f"installing {', '.join(packages)}"), _no_services_started():
            _install(packages)
    raise_limits()


def _install(packages: list[str]) -> None:
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages]
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(command, env=quiet)
    except CommandFailed:
        # Package lists of a fresh machine are empty or outdated.
        run(["apt-get", "update", "--quiet"], env=quiet)
        run(command, env=quiet)


@contextmanager
def _no_services_started() -> Iterator[None]:
    """Keep Debian from starting the system's Docker, now or at the next boot: the cluster has its own."""
    fresh = shutil.which("dockerd") is None
    foreign = POLICY.exists()
    if not foreign:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if not foreign:
            POLICY.unlink()
        if fresh and shutil.which("systemctl") is not None:
            run(["systemctl", "disable", *SERVICES], check=False)


def raise_limits() -> None:
    """Raise each limit to what five nodes need, unless it is higher already."""
    for name, least in LIMITS.items():
        file = Path("/proc/sys") / name.replace(".", "/")
        if int(file.read_text()) < least:
            file.write_text(str(least))
