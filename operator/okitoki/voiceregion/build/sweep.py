"""The pod that cleans a node up after its region is gone."""

from __future__ import annotations

import hashlib
from typing import Any

from okitoki.kube import labels, names
from okitoki.kube.resources import Manifest
from okitoki.voiceregion.build.common import REGION_CONFIG_MAP, REGION_FILE
from okitoki.voiceregion.build.stateful_set import DATA_PARENT, data_folder

SWEEP = "edge-sweep"


def sweep_pod(region: str, uid: str, node: str, image: str, *, keep_sysctls: bool) -> Manifest:
    """Takes the region's addresses, rules and folder from a node, and its sysctls unless another region needs them
    there.

    It is bound to the node directly: whatever the scheduler thinks of that node, it must be cleaned.
    """
    digest = hashlib.sha256(node.encode()).hexdigest()[:10]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{SWEEP}-{digest}",
            "namespace": names.region_namespace(region),
            "labels": labels.owned(SWEEP, region=region),
        },
        "spec": {
            "nodeName": node,
            "hostNetwork": True,
            "restartPolicy": "OnFailure",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [_sweep(image, keep_sysctls), _remove_folder(region, uid, image)],
            "volumes": [
                {"name": "region", "configMap": {"name": REGION_CONFIG_MAP}},
                {"name": "folders", "hostPath": {"path": DATA_PARENT, "type": "DirectoryOrCreate"}},
            ],
        },
    }


def _sweep(image: str, keep_sysctls: bool) -> dict[str, Any]:
    return {
        "name": "sweep",
        "image": image,
        "command": ["okitoki-edge", "sweep", *(["--keep-sysctls"] if keep_sysctls else [])],
        # Sysctls of the host can be written by a privileged container only.
        "securityContext": {"privileged": True, "readOnlyRootFilesystem": True},
        "volumeMounts": [
            {"name": "region", "mountPath": f"/etc/okitoki/{REGION_FILE}", "subPath": REGION_FILE, "readOnly": True}
        ],
    }


def _remove_folder(region: str, uid: str, image: str) -> dict[str, Any]:
    folder = data_folder(region, uid).removeprefix(DATA_PARENT + "/")
    return {
        "name": "remove-folder",
        "image": image,
        "command": ["rm", "-rf", "--one-file-system", "--", f"/folders/{folder}"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]},
        },
        "volumeMounts": [{"name": "folders", "mountPath": "/folders"}],
    }
