"""The routing feed: all that an edge needs to route calls to this tenant's agents without asking anyone."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response
from psycopg.rows import DictRow

from callcentre.api.access import Parts, Until, requires
from callcentre.api.feed import Feed, build_feed, none_match
from callcentre.database.connection import Database
from callcentre.store import tenant as store

router = APIRouter(prefix="/edge/v1", dependencies=[requires("edge")])


async def _read(session: Database, cached: Feed | None) -> Feed | DictRow:
    """`cached` when it is still right, which costs one read of one row; else the new rows."""
    if cached is not None and await store.configuration_version(session) == cached.version:
        return cached
    return await store.read_routes(session)


@router.get("/routes")
async def routes(services: Parts, deadline: Until, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    cached = services.feed
    found = await services.database.run(lambda session: _read(session, cached), deadline)
    feed = found if isinstance(found, Feed) else build_feed(services.tenant, found)
    services.feed = feed
    headers = {"ETag": feed.etag, "Cache-Control": "no-cache"}
    if none_match(if_none_match, feed.etag):
        return Response(status_code=304, headers=headers)
    return Response(feed.body, headers=headers, media_type="application/json")
