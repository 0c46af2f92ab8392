"""Every pinned version of the local cluster, in one place.

Kubernetes stays on the 1.34 line: it is the last one that merely warns on cgroup v1, which the machines without a
container registry have.
"""

from __future__ import annotations

import os

KUBERNETES = "v1.34.4"
KIND = "v0.33.0"
CRICTL = "v1.34.0"
COREDNS = "v1.14.7"
HELM = "v3.22.0"
ETCD = "v3.6.12"
LOCAL_PATH_PROVISIONER = "v0.0.30"
KUBE_ROUTER = "v2.1.0"

KUBE_ROUTER_IMAGE = f"docker.io/cloudnativelabs/kube-router:{KUBE_ROUTER}"
NODE_IMAGE = "okitoki/node"

# The node needs systemd 252: 258 and later refuse to start on cgroup v1.
NODE_SUITE = "bookworm"
DEFAULT_SUITE = "trixie"

DEBIAN_MIRROR = os.environ.get("OKITOKI_DEBIAN_MIRROR", "http://deb.debian.org/debian")
DEBIAN_SECURITY_MIRROR = os.environ.get("OKITOKI_DEBIAN_SECURITY_MIRROR", "http://deb.debian.org/debian-security")

# Raise one of these when the way something is built changes, so that caches of the old way are not used.
GO_RECIPE = 1
BASE_RECIPE = 1
NODE_RECIPE = 1
