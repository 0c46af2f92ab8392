"""`status`: what is there, and how it is."""

from __future__ import annotations

import json

from okitoki_kubectl.cluster import Cluster, Resource
from okitoki_kubectl.view import condition_rows, region_row, table, tenant_row
from okitoki_kubectl.waiting import Failed


def status(cluster: Cluster, name: str | None, output: str) -> str:
    """The whole platform, or one Tenant or VoiceRegion with its conditions; raises `Failed`, `KubectlError`."""
    tenants, regions = _named(cluster, "tenants", name), _named(cluster, "voiceregions", name)
    if name is not None and not tenants and not regions:
        raise Failed(f"there is neither a Tenant nor a VoiceRegion {name}: see kubectl okitoki status")
    rows = {"tenants": [tenant_row(item) for item in tenants], "regions": [region_row(item) for item in regions]}
    if name is None:
        if output == "json":
            return json.dumps(rows, indent=2)
        return f"Tenants\n{table(rows['tenants'])}\n\nVoiceRegions\n{table(rows['regions'])}"
    if output == "json":
        for found, row in zip([*tenants, *regions], [*rows["tenants"], *rows["regions"]], strict=True):
            row["conditions"] = condition_rows(found)
        return json.dumps(rows, indent=2)
    return "\n\n".join(
        f"{item['kind']}\n{table([row])}\n\n{table(condition_rows(item))}"
        for item, row in zip([*tenants, *regions], [*rows["tenants"], *rows["regions"]], strict=True)
    )


def _named(cluster: Cluster, kind: str, name: str | None) -> list[Resource]:
    """The one of that name, if there is one; all when no name is given."""
    if name is None:
        return cluster.all(kind)
    found = cluster.one(kind, name)
    return [] if found is None else [found]


def tenant(cluster: Cluster, name: str) -> Resource:
    """Raises `Failed` when there is none."""
    return _one(cluster, "tenants", "Tenant", name)


def region(cluster: Cluster, name: str) -> Resource:
    """Raises `Failed` when there is none."""
    return _one(cluster, "voiceregions", "VoiceRegion", name)


def _one(cluster: Cluster, kind: str, word: str, name: str) -> Resource:
    found = cluster.one(kind, name)
    if found is None:
        raise Failed(f"there is no {word} {name}: see kubectl okitoki status")
    return found
