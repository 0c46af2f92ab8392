"""API keys."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from callcentre.api.access import Parts, Until, requires
from callcentre.api.models import ApiKeyIn, ApiKeyOut, NewApiKeyOut, shape_rows
from callcentre.credentials import ApiKey
from callcentre.store import api_keys as store

router = APIRouter(prefix="/v1/api-keys", dependencies=[requires("api-key")])


@router.post("", status_code=201)
async def create_key(body: ApiKeyIn, services: Parts, deadline: Until) -> NewApiKeyOut:
    key = ApiKey.generate()
    row = await services.database.run(lambda session: store.create_key(session, key, body.name), deadline)
    services.api_keys.remember(key.prefix, key.digest)
    return NewApiKeyOut(**row, key=key.text)


@router.get("")
async def list_keys(services: Parts, deadline: Until) -> dict[str, Any]:
    return {"items": shape_rows(ApiKeyOut, await services.database.run(store.list_keys, deadline))}


@router.delete("/{prefix}", status_code=204)
async def delete_key(
    prefix: Annotated[str, Path(pattern="^[A-Za-z0-9]{8}$")], services: Parts, deadline: Until
) -> Response:
    """Revoked here at once, on the other pods within `principals.FRESH` seconds."""
    await services.database.run(lambda session: store.delete_key(session, prefix), deadline)
    services.api_keys.remember(prefix, None)
    return Response(status_code=204)
