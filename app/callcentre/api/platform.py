"""What the operator tells the app of its tenant."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from callcentre.api.access import Parts, Until, requires
from callcentre.api.errors import ApiError
from callcentre.api.models import TenantIn
from callcentre.store import tenant as store

router = APIRouter(prefix="/platform/v1", dependencies=[requires("platform")])


@router.put("/tenant")
async def put_tenant(body: TenantIn, services: Parts, deadline: Until) -> TenantIn:
    """Level-based: afterwards the tenant is what the body says."""
    if body.name != services.tenant:
        raise ApiError(422, "invalid", f"name: this is the app of tenant {services.tenant}", "name")
    numbers = [(route.number, route.queue) for route in body.numbers]
    await services.database.run(
        lambda session: store.put_tenant(session, body.name, body.display_name, numbers, restricted=body.restricted),
        deadline,
    )
    return body


@router.get("/tenant")
async def get_tenant(services: Parts, deadline: Until) -> dict[str, Any]:
    row = await services.database.run(store.get_tenant, deadline)
    return {
        "name": row["name"],
        "displayName": row["display_name"],
        "numbers": row["numbers"],
        "restricted": row["restricted"],
    }
