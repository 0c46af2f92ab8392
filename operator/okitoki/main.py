"""Registers watches; nothing else. The work is in `okitoki.controller`."""

from __future__ import annotations

import asyncio
from typing import Any

import kopf

from okitoki.controller import Controller
from okitoki.kube.client import LIST_PAGE, connection
from okitoki.kube.resources import NODE, TENANT, VOICE_REGION


def watches(controller: Controller) -> kopf.OperatorRegistry:
    """A Kopf registry that tells the controller of every event; Kopf itself writes nothing to any object."""
    registry = kopf.get_default_registry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return connection()

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure_kopf(settings)

    async def notice(event: kopf.RawEvent, **_: Any) -> None:
        controller.notice(event["type"], event["object"])

    for kind in (TENANT, VOICE_REGION, NODE):
        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=f"notice-{kind.plural}")(notice)
    return registry


class NothingToDiff(kopf.DiffBaseStorage):
    """Kopf keeps no last state of an object: it is only asked for events, and copies and compares each for nothing."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Of an object nothing is compared."""
        return {}

    def fetch(self, **_: Any) -> None:
        """There is no earlier state."""

    def store(self, **_: Any) -> None:
        """Nothing is written to an object."""


class NoProgress(kopf.ProgressStorage):
    """Likewise for the progress of handlers, of which there is none."""

    def fetch(self, **_: Any) -> None:
        """No handler is under way."""

    def store(self, **_: Any) -> None:
        """Nothing is written to an object."""

    def purge(self, **_: Any) -> None:
        """There is nothing to remove."""

    def touch(self, **_: Any) -> None:
        """Nothing is written to an object."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """There is nothing of it in an object."""
        return essence


def configure_kopf(settings: kopf.OperatorSettings) -> None:
    """Kopf only watches: no events of its own, no peering. It lists in pages, and its task for an object, which holds
    the object, ends soon after the event."""
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.networking.request_timeout = 60
    settings.networking.connect_timeout = 5
    settings.watching.connect_timeout = 5
    settings.watching.server_timeout = 600
    settings.watching.chunk_size = LIST_PAGE
    settings.queueing.idle_timeout = 0.5
    settings.persistence.diffbase_storage = NothingToDiff()
    settings.persistence.progress_storage = NoProgress()


async def watch(controller: Controller, stop: asyncio.Event) -> None:
    """Run Kopf in this process until it is told to stop by a signal; then set `stop`.

    Kopf takes SIGTERM and SIGINT for itself when it starts, so it is the one that hears them.
    """
    await kopf.operator(registry=watches(controller), clusterwide=True, standalone=True, stop_flag=stop)
    stop.set()
