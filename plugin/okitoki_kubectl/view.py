"""What is shown of Tenants and VoiceRegions. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]
NOTHING = "-"
ADDRESSES = ("sip", "https", "media-1", "media-2")
"""What a VoiceRegion's edge holds."""


def tenant_row(tenant: Mapping[str, Any]) -> Row:
    """One line about a Tenant."""
    status = tenant.get("status") or {}
    database = status.get("database") or {}
    return {
        "name": tenant["metadata"]["name"],
        "ready": condition(tenant, "Ready").get("status", "Unknown"),
        "primary": database.get("primary"),
        "members": database.get("members"),
        "app": (status.get("app") or {}).get("replicas"),
        "numbers": status.get("numbers"),
        "why": _why(tenant),
    }


def region_row(region: Mapping[str, Any]) -> Row:
    """One line about a VoiceRegion."""
    status = region.get("status") or {}
    holders = status.get("holders") or {}
    return {
        "name": region["metadata"]["name"],
        "ready": condition(region, "Ready").get("status", "Unknown"),
        "pods": status.get("members"),
        "protected": condition(region, "EdgeRedundant").get("status", "Unknown"),
        **{name: holders.get(name) for name in ADDRESSES},
        "tenants": status.get("tenants"),
        "why": _why(region),
    }


def condition_rows(resource: Mapping[str, Any]) -> list[Row]:
    """The conditions of one resource."""
    conditions = (resource.get("status") or {}).get("conditions") or []
    return [
        {"condition": c["type"], "status": c["status"], "reason": c["reason"], "since": c["lastTransitionTime"],
         "message": c["message"]}
        for c in conditions
    ]  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Columns as kubectl shows them; the last one is not padded."""
    if not rows:
        return "none"
    lines = [[name.upper() for name in rows[0]]]
    lines += [[NOTHING if value in (None, "") else str(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def condition(resource: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """One condition of a resource, empty when there is none."""
    found = (resource.get("status") or {}).get("conditions") or []
    return next((item for item in found if item["type"] == kind), {})


def _why(resource: Mapping[str, Any]) -> str:
    ready = condition(resource, "Ready")
    return "" if ready.get("status") == "True" else str(ready.get("message", "the operator has not seen it yet"))
