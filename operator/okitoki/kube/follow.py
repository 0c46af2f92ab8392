"""Follows what changes among the objects of one kind, and keeps none of them.

Kopf watches the resources that are ours to reconcile. Of what they own there are thirty times as many, and all that is
asked of an event is whose object it was: here one costs neither a task nor a record
(docs/decisions/0017-owned-objects-are-followed-not-kept.md).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping

import aiohttp

from okitoki.kube.client import ApiError, Client
from okitoki.kube.resources import Manifest, ResourceType

log = logging.getLogger(__name__)

GONE = 410
RETRY_SECONDS = 2.0

Notice = Callable[[str, Manifest], None]
"""Told of each change: `ADDED`, `MODIFIED` or `DELETED`, and the object."""


async def follow(
    client: Client,
    kind: ResourceType,
    selector: Mapping[str, str],
    notice: Notice,
    begin: Callable[[], Awaitable[str]],
    *,
    whole: bool,
) -> None:
    """Follow until cancelled. `begin` says from which version of the collection; it is asked at the start, and again
    after a gap in which changes may have been missed: what is there then must be looked at by it, none of it is told.

    `whole`: whether the objects are asked for with all they have; else with their metadata only.
    """
    since: str | None = None
    while True:
        try:
            if since is None:
                since = await begin()
            async for event, item in client.watch(kind, since, selector, whole=whole):
                since = item["metadata"]["resourceVersion"]
                if event != "BOOKMARK":
                    notice(event, {**item, "apiVersion": kind.api_version, "kind": kind.kind})
        except ApiError as error:
            if error.status == GONE:
                log.info("watch of %s begins anew: %s", kind.plural, error.message)
                since = None
            else:
                log.warning("watch of %s: %s", kind.plural, error)
                await asyncio.sleep(_delay())
        except (aiohttp.ClientError, TimeoutError) as error:
            log.info("watch of %s broke off: %s: %s", kind.plural, type(error).__name__, error)
            await asyncio.sleep(_delay())


def _delay() -> float:
    return RETRY_SECONDS * (0.5 + random.random() / 2)  # noqa: S311
