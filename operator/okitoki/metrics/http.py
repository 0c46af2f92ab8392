"""`/metrics`: the registry as text, for whoever may reach the port."""

from __future__ import annotations

import asyncio

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from okitoki.metrics.process import REGISTRY


async def metrics_page(request: web.Request) -> web.Response:
    """In the format that the scraper asks for; written in a thread, because thousands of objects take a moment."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    body = await asyncio.to_thread(encode, REGISTRY)
    return web.Response(body=body, headers={"Content-Type": content_type})
