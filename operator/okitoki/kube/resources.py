"""The kinds of objects the operator reads and writes, and how the API server addresses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]
"""A Kubernetes object as the API's JSON: `apiVersion`, `kind`, `metadata`, and what the kind has besides."""


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One kind of object; `group` is empty for the core group."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As objects carry it, e.g. `apps/v1` or `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of a collection or of one object; without a namespace, a namespaced kind in all namespaces."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace is not None and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name is not None:
            if self.namespaced and namespace is None:
                raise ValueError(f"{self.kind} {name}: a namespaced object needs its namespace")
            parts.append(name)
        if subresource is not None:
            parts.append(subresource)
        return "/" + "/".join(parts)


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """Which object: kind, namespace (empty for cluster-scoped ones) and name."""

    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> ObjectKey:
        """The key of an object as the API or a builder gives it."""
        metadata = manifest["metadata"]
        return cls(manifest["kind"], metadata.get("namespace", ""), metadata["name"])

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def annotation(manifest: Mapping[str, Any] | None, name: str) -> str:
    """An object's annotation of this name; empty when it has none, and when there is no object."""
    return str((((manifest or {}).get("metadata") or {}).get("annotations") or {}).get(name) or "")


def condition(manifest: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """What an object's status says under one type of condition; empty when it says nothing."""
    found = (manifest.get("status") or {}).get("conditions") or []
    return next((item for item in found if item["type"] == kind), {})


def condition_is_true(manifest: Mapping[str, Any], kind: str) -> bool:
    """Whether an object's status says that a condition is met."""
    return bool(condition(manifest, kind).get("status") == "True")


PLATFORM_GROUP = "platform.oki-toki.net"
PLATFORM_VERSION = "v1alpha1"

TENANT = ResourceType(PLATFORM_GROUP, PLATFORM_VERSION, "Tenant", "tenants", namespaced=False)
VOICE_REGION = ResourceType(PLATFORM_GROUP, PLATFORM_VERSION, "VoiceRegion", "voiceregions", namespaced=False)

NAMESPACE = ResourceType("", "v1", "Namespace", "namespaces", namespaced=False)
NODE = ResourceType("", "v1", "Node", "nodes", namespaced=False)
POD = ResourceType("", "v1", "Pod", "pods")
SERVICE = ResourceType("", "v1", "Service", "services")
SERVICE_ACCOUNT = ResourceType("", "v1", "ServiceAccount", "serviceaccounts")
SECRET = ResourceType("", "v1", "Secret", "secrets")
CONFIG_MAP = ResourceType("", "v1", "ConfigMap", "configmaps")
PERSISTENT_VOLUME_CLAIM = ResourceType("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
EVENT = ResourceType("", "v1", "Event", "events")
DEPLOYMENT = ResourceType("apps", "v1", "Deployment", "deployments")
STATEFUL_SET = ResourceType("apps", "v1", "StatefulSet", "statefulsets")
POD_DISRUPTION_BUDGET = ResourceType("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY = ResourceType("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
ROLE = ResourceType("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDING = ResourceType("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
LEASE = ResourceType("coordination.k8s.io", "v1", "Lease", "leases")
STORAGE_CLASS = ResourceType("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False)
CUSTOM_RESOURCE_DEFINITION = ResourceType(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)

_ALL = [value for value in list(globals().values()) if isinstance(value, ResourceType)]
_BY_KIND = {(rt.api_version, rt.kind): rt for rt in _ALL}


def type_of(manifest: Mapping[str, Any]) -> ResourceType:
    """The type of an object.

    Raises:
        KeyError: for a kind that this operator does not know.
    """
    return _BY_KIND[(manifest["apiVersion"], manifest["kind"])]
