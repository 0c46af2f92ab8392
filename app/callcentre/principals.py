"""Who calls: principals and the seam through which they are recognised.

Personal logins will come from the accounts service above the tenants as one more `Authenticator` with a kind of its
own.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from callcentre.credentials import ApiKey, same_secret
from callcentre.database.decisions import Outcome
from callcentre.database.runner import Deadline, UnavailableError

Kind = Literal["api-key", "edge", "platform"]


@dataclass(frozen=True)
class Principal:
    """The authenticated caller: its kind, and which one (of an API key: the prefix)."""

    kind: Kind
    subject: str


class Authenticator(Protocol):
    """Recognises bearer tokens of one kind."""

    async def authenticate(self, token: str, deadline: Deadline) -> Principal | None:
        """The principal, or None for a token that is not valid. Raises UnavailableError when that can't be known."""
        ...


class TokenAuthenticator:
    """One shared token, from the environment."""

    def __init__(self, kind: Kind, token: str) -> None:
        self._principal = Principal(kind, kind)
        self._token = token

    async def authenticate(self, token: str, deadline: Deadline) -> Principal | None:
        return self._principal if same_secret(token, self._token) else None


FRESH = 10.0
"""A revoked key works on the other pods for at most this long (s) while the database answers."""
STALE = 60.0
"""And for at most this long while it does not: longer than a failover, which so needs no database to authenticate."""
ABSENT = 2.0
"""How long (s) the absence of a key is believed: guessing costs a query each, and a new key works soon."""
REFRESH_LIMIT = 0.5
SIZE = 1024


class CacheUse(Enum):
    HIT = "hit"
    REFRESH = "refresh"
    LOOK_UP = "look up"


def cache_use(age: float | None, *, present: bool, primary_known: bool) -> CacheUse:
    """What to do with a cached key of this age (s; None: not cached). REFRESH: ask briefly, use it when that fails."""
    if age is None:
        return CacheUse.LOOK_UP
    if not present:
        return CacheUse.HIT if age < ABSENT else CacheUse.LOOK_UP
    if age < FRESH:
        return CacheUse.HIT
    if age >= STALE:
        return CacheUse.LOOK_UP
    return CacheUse.REFRESH if primary_known else CacheUse.HIT


@dataclass(frozen=True)
class _Entry:
    digest: bytes | None
    at: float


class ApiKeyAuthenticator:
    """API keys, with a small cache of digests so that a failover needs no round trip to know who calls."""

    def __init__(
        self,
        find_digest: Callable[[str, Deadline], Awaitable[bytes | None]],
        primary_known: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find_digest
        self._primary_known = primary_known
        self._clock = clock
        self._cache: dict[str, _Entry] = {}

    async def authenticate(self, token: str, deadline: Deadline) -> Principal | None:
        key = ApiKey.parse(token)
        if key is None:
            return None
        digest = await self._digest(key.prefix, deadline)
        # Compared also when there is none, so that the time tells nothing about which prefixes exist.
        matches = same_secret(key.digest.hex(), (digest or bytes(32)).hex())
        return Principal("api-key", key.prefix) if digest is not None and matches else None

    def remember(self, prefix: str, digest: bytes | None) -> None:
        """Take note of a key that was made, found, or (None) revoked or not found."""
        self._cache.pop(prefix, None)
        self._cache[prefix] = _Entry(digest, self._clock())
        while len(self._cache) > SIZE:
            del self._cache[next(iter(self._cache))]

    async def _digest(self, prefix: str, deadline: Deadline) -> bytes | None:
        entry = self._cache.get(prefix)
        age = self._clock() - entry.at if entry else None
        use = cache_use(age, present=bool(entry and entry.digest), primary_known=self._primary_known())
        if entry is not None and use is CacheUse.HIT:
            return entry.digest
        try:
            brief = entry is not None and use is CacheUse.REFRESH
            digest = await self._find(prefix, Deadline(min(REFRESH_LIMIT, deadline.remaining)) if brief else deadline)
        except UnavailableError as error:
            if entry is not None and use is CacheUse.REFRESH:
                return entry.digest
            # Only a look-up failed: of the request itself nothing was done.
            raise UnavailableError(Outcome.NOT_DONE, error.reason, error.attempts) from None
        self.remember(prefix, digest)
        return digest
