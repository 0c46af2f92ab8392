"""Security settings of pods under Pod Security `restricted`. Pure."""

from __future__ import annotations

from typing import Any


def restricted_pod(uid: int) -> dict[str, Any]:
    """A pod's securityContext: a fixed user that is not root, volumes of its group, the runtime's seccomp profile."""
    return {
        "runAsNonRoot": True,
        "runAsUser": uid,
        "runAsGroup": uid,
        "fsGroup": uid,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def restricted_container() -> dict[str, Any]:
    """A container's securityContext: no capability, no way to more rights, a read-only root file system."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
