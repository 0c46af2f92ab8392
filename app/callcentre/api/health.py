"""`/healthz` and `/readyz`."""

from __future__ import annotations

import time

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse

from callcentre.api.access import Parts
from callcentre.database.decisions import readiness

router = APIRouter()


@router.get("/healthz")
async def healthz() -> PlainTextResponse:
    """The process serves. Says nothing of the database: restarting the app repairs no database."""
    return PlainTextResponse("ok")


@router.get("/readyz")
async def readyz(services: Parts) -> JSONResponse:
    """Whether to send requests here, and what is known of the members."""
    now = time.monotonic()
    seen = services.cluster.primary_seen
    verdict = readiness(draining=services.draining, migrated=services.schema.migrated, primary_seen=seen, now=now)
    primary = services.cluster.primary
    body = {
        "ready": verdict.ready,
        "reason": verdict.reason,
        "primary": primary.member.name if primary else None,
        "age": round(now - seen, 3) if seen is not None else None,
        "members": services.cluster.report(now),
    }
    return JSONResponse(body, 200 if verdict.ready else 503)
