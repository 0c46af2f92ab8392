"""Call records: written by API clients and by the edge, read by clients."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import JSONResponse

from callcentre.api.access import Parts, Services, Until, requires
from callcentre.api.errors import ApiError
from callcentre.api.models import (
    E164,
    CallRecordBase,
    CallRecordIn,
    CallRecordOut,
    EdgeCallRecordIn,
    RecordKey,
    Text,
    Time,
    shape_rows,
)
from callcentre.database.runner import Deadline
from callcentre.store import call_records as store

router = APIRouter(prefix="/v1", dependencies=[requires("api-key")])
edge_router = APIRouter(prefix="/edge/v1", dependencies=[requires("edge")])


async def _write(services: Services, key: str, body: CallRecordBase, deadline: Deadline) -> JSONResponse:
    record = body.model_dump()
    written = await services.database.run(lambda session: store.write_record(session, key, record), deadline)
    return JSONResponse(shape_rows(CallRecordOut, [written.row])[0], 201 if written.created else 200)


@router.post("/call-records")
async def create_record(
    body: CallRecordIn, key: Annotated[UUID, Header(alias="Idempotency-Key")], services: Parts, deadline: Until
) -> JSONResponse:
    """201; a replay under the same key 200 with the same body; another body under it 409."""
    return await _write(services, str(key), body, deadline)


@edge_router.put("/call-records/{key:path}")
async def put_record(
    key: Annotated[RecordKey, Path()], body: EdgeCallRecordIn, services: Parts, deadline: Until
) -> JSONResponse:
    """The same for the edge's call keys; 409 tells it that another record of this call is stored already."""
    return await _write(services, key, body, deadline)


def _after(cursor: str | None) -> store.Cursor | None:
    try:
        return store.Cursor.decode(cursor) if cursor is not None else None
    except ValueError:
        raise ApiError(
            422, "invalid", "cursor: is not one of ours; give the `next` of the page before", "cursor"
        ) from None


@router.get("/call-records")
async def list_records(
    services: Parts,
    deadline: Until,
    since: Annotated[Time | None, Query(alias="from")] = None,
    until: Annotated[Time | None, Query(alias="to")] = None,
    number: Annotated[E164 | None, Query()] = None,
    agent: Annotated[Text | None, Query(max_length=64)] = None,
    cursor: Annotated[str | None, Query(max_length=2048)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JSONResponse:
    """Records with from <= startedAt < to, newest first. The order is total, so pages neither repeat nor skip."""
    after = _after(cursor)
    wanted = store.Filter(since, until, number, agent)
    rows, following = await services.database.run(
        lambda session: store.list_records(session, wanted, after, limit), deadline
    )
    body: dict[str, Any] = {"items": shape_rows(CallRecordOut, rows), "next": following.encode() if following else None}
    return JSONResponse(body)


@router.get("/call-records/{key:path}")
async def get_record(key: Annotated[RecordKey, Path()], services: Parts, deadline: Until) -> JSONResponse:
    row = await services.database.run(lambda session: store.get_record(session, key), deadline)
    return JSONResponse(shape_rows(CallRecordOut, [row])[0])
