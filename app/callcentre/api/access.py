"""What every router needs of the app's parts, and who may call: dependencies for FastAPI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import Depends, Request

from callcentre.api.errors import ApiError
from callcentre.api.feed import Feed
from callcentre.database.cluster import Cluster
from callcentre.database.runner import Database, Deadline
from callcentre.database.schema import SchemaKeeper
from callcentre.principals import ApiKeyAuthenticator, Authenticator, Kind, Principal


@dataclass
class Services:
    """The app's parts, made once at start."""

    tenant: str
    cluster: Cluster
    database: Database
    schema: SchemaKeeper
    api_keys: ApiKeyAuthenticator
    authenticators: dict[Kind, Authenticator]
    draining: bool = False
    feed: Feed | None = None
    """The routing feed as it was last read."""


def get_services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


def get_deadline() -> Deadline:
    """One deadline for all of a request's work. It starts when the body is there: a slow client is not our time.

    (FastAPI calls a dependency once for each request, whoever needs it.)
    """
    return Deadline()


Parts = Annotated[Services, Depends(get_services)]
Until = Annotated[Deadline, Depends(get_deadline)]


def bearer_token(header: str | None) -> str:
    """The token of an Authorization header (RFC 6750 2.1). Raises ApiError."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiError(401, "unauthorized", "send the header Authorization: Bearer followed by a valid key")
    return token.strip()


def requires(kind: Kind) -> Any:
    """A dependency that lets only principals of `kind` pass."""

    async def authenticate(request: Request, services: Parts, deadline: Until) -> Principal:
        token = bearer_token(request.headers.get("authorization"))
        principal = await services.authenticators[kind].authenticate(token, deadline)
        if principal is None:
            raise ApiError(401, "unauthorized", "the key is not valid here; use one that exists and was not revoked")
        return principal

    dependency: Callable[..., Awaitable[Principal]] = authenticate
    return Depends(dependency)
