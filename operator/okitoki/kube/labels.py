"""Every label, annotation and fixed identity that the operator puts on objects."""

from __future__ import annotations

from collections.abc import Mapping

from okitoki.kube.resources import PLATFORM_GROUP

FIELD_MANAGER = "okitoki-operator"
FINALIZER = f"{PLATFORM_GROUP}/cleanup"

NAME = "app.kubernetes.io/name"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"
TENANT = f"{PLATFORM_GROUP}/tenant"
REGION = f"{PLATFORM_GROUP}/region"
OWNER_UID = f"{PLATFORM_GROUP}/owner-uid"
RETAINED = f"{PLATFORM_GROUP}/retained"
"""On a namespace that keeps the data of a Tenant that was deleted; its `OWNER_UID` is that Tenant's."""
RETAINED_SINCE = f"{PLATFORM_GROUP}/retained-since"
"""Annotation: when that Tenant was deleted (RFC 3339)."""
EDGE_TENANT = f"{PLATFORM_GROUP}/edge-tenant"
POD_SECURITY = "pod-security.kubernetes.io"

APPLIED_HASH = f"{PLATFORM_GROUP}/applied-hash"
SWITCHOVER = f"{PLATFORM_GROUP}/switchover"
"""Annotation of a Tenant by which a person asks for another primary; its value is the time of the request."""
RENEW_CERTIFICATE = f"{PLATFORM_GROUP}/renew-certificate"
"""Annotation of a Tenant, a VoiceRegion or the authority's Secret: its certificate is to be one that was issued at this
time (RFC 3339) or later. It may stay: what is newer already is left alone."""
DRAINED_NODE = f"{PLATFORM_GROUP}/drained-node"
"""Annotation of a VoiceRegion: the node that somebody services; its edge pod is to hold no address meanwhile."""
DRAIN = f"{PLATFORM_GROUP}/drain"
"""Annotation of an edge pod: its agent leaves every address to the other one."""
EDGE_STATUS = f"{PLATFORM_GROUP}/edge-status"

MANAGER = "okitoki-operator"
OURS = {MANAGED_BY: MANAGER}
"""Selects everything that this operator owns."""


def owned(component: str | None = None, *, tenant: str | None = None, region: str | None = None) -> dict[str, str]:
    """The labels of an object the operator owns; `component` is `app`, `postgres` or `edge`, none for shared ones.

    Exactly one of `tenant` and `region`: it says which resource prunes the object.
    """
    labels = {PART_OF: "okitoki", **OURS}
    if component:
        labels[NAME] = component
    if tenant:
        labels[TENANT] = tenant
    if region:
        labels[REGION] = region
    return labels


def selector(component: str, *, tenant: str | None = None, region: str | None = None) -> dict[str, str]:
    """The stable subset of the labels that selects a component's pods; it can never change once a workload exists."""
    labels = {NAME: component}
    if tenant:
        labels[TENANT] = tenant
    if region:
        labels[REGION] = region
    return labels


def matches(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether an object with `labels` is selected by `wanted`."""
    found = {PRESENT: lambda key: key in labels, ABSENT: lambda key: key not in labels}
    return all(found[value](key) if value in found else labels.get(key) == value for key, value in wanted.items())


PRESENT = "*"
"""In a selector in the place of a value: the label is there, whatever it says."""
ABSENT = "!"
"""In a selector in the place of a value: the label is not there."""


def label_selector(wanted: Mapping[str, str]) -> str:
    """A selector as the API takes it (`labelSelector`)."""
    forms = {PRESENT: "{0}", ABSENT: "!{0}"}
    return ",".join(forms.get(value, "{0}={1}").format(key, value) for key, value in sorted(wanted.items()))


def pod_security(level: str) -> dict[str, str]:
    """Namespace labels that enforce, and warn of, a Pod Security level: `restricted` or `privileged`."""
    return {f"{POD_SECURITY}/{mode}": level for mode in ("enforce", "warn")}
