"""Patroni's store as an agent sees and changes it: ConfigMaps `postgres-leader`, `-sync` and `-config`.

Names and annotations are Patroni's own (patroni/dcs/kubernetes.py with `use_endpoints: false`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp

from okitoki_agents.database.decisions import Store
from okitoki_agents.database.standstill import Mark
from okitoki_agents.kube import ApiClient, ApiError, Object

SCOPE = "postgres"
LEADER, SYNC, CONFIG, FAILOVER = (f"{SCOPE}-{part}" for part in ("leader", "sync", "config", "failover"))
SELECTOR = f"cluster-name={SCOPE}"
REQUEST_SECONDS = 2.0
STOPPING = "platform.oki-toki.net/stopping"
"""On `postgres-config`, by the operator: all members are about to stop."""
FENCED_FOR = "platform.oki-toki.net/fenced-for"
REINITIALISED = "platform.oki-toki.net/reinitialised"
"""On `postgres-config`, by the agents: the member that was made anew last, when and why (JSON)."""
HANDED_OVER_FROM = "platform.oki-toki.net/handed-over-from"


class StoreError(Exception):
    """The API server did not answer or refused; one sentence."""


class Conflict(StoreError):
    """The object has been changed by somebody else since it was read."""


def parse(maps: Mapping[str, Object]) -> Store:
    """The store from its ConfigMaps by name."""
    leader, sync = _annotations(maps.get(LEADER)), _annotations(maps.get(SYNC))
    return Store(
        leader=leader.get("leader") or None,
        leader_version=_version(maps.get(LEADER)),
        sync_leader=sync.get("leader") or None,
        voters=frozenset(name for name in (sync.get("sync_standby") or "").split(",") if name),
        sync_version=_version(maps.get(SYNC)),
        paused=bool(_settings(maps).get("pause")),
        stopping=bool(_annotations(maps.get(CONFIG)).get(STOPPING)),
        switchover=any(_annotations(maps.get(FAILOVER)).get(key) for key in ("leader", "member")),
        synchronous=_number(_settings(maps).get("synchronous_node_count")),
    )


def parse_mark(maps: Mapping[str, Object]) -> Mark | None:
    """Who was made anew last; None when nobody was, or when somebody else wrote what cannot be read."""
    try:
        found = json.loads(_annotations(maps.get(CONFIG)).get(REINITIALISED, ""))
        return Mark(str(found["member"]), datetime.fromisoformat(found["at"]).astimezone(UTC))
    except (ValueError, KeyError, TypeError):
        return None


def renew_time(maps: Mapping[str, Object]) -> str:
    """What changes with every renewal of the lock."""
    return _annotations(maps.get(LEADER)).get("renewTime", "")


class PatroniStore:
    """Fresh reads and compare-and-set changes. Every method raises StoreError, those that change also Conflict."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._client = client
        self._base = f"/api/v1/namespaces/{namespace}"

    async def holder(self) -> str | None:
        """Who holds the lock now."""
        try:
            lock = await self._client.get(f"{self._base}/configmaps/{LEADER}", REQUEST_SECONDS)
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise StoreError(f"reading the lock: {type(error).__name__} {error}") from error
        return parse({LEADER: lock}).leader

    async def read(self) -> dict[str, Object]:
        """All of Patroni's ConfigMaps, by name, as they are now."""
        try:
            items, _ = await self._client.list(f"{self._base}/configmaps", SELECTOR)
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise StoreError(f"reading Patroni's store: {type(error).__name__} {error}") from error
        return {item["metadata"]["name"]: item for item in items}

    async def mark(self, maps: Mapping[str, Object], mark: Mark, reason: str) -> None:
        """Note who is made anew, if nothing of the configuration has changed since `maps` was read."""
        text = json.dumps({"member": mark.member, "at": mark.at.isoformat(timespec="seconds"), "reason": reason})
        await self._set(CONFIG, _version(maps.get(CONFIG)), {REINITIALISED: text})

    async def unmark(self, maps: Mapping[str, Object]) -> None:
        """Nobody was made anew after all: what `maps` says of an earlier time is true again."""
        before = _annotations(maps.get(CONFIG)).get(REINITIALISED)
        await self._set(CONFIG, None, {REINITIALISED: before})

    async def settle_voters(self, store: Store, attempt: str) -> Store:
        """Touch the synchronous key if it is still as read. After this Patroni on the primary can change it only after
        reading it again, and that is after renewing the lock."""
        changed = parse({SYNC: await self._set(SYNC, store.sync_version, {FENCED_FOR: attempt})})
        return replace(store, sync_leader=changed.sync_leader, voters=changed.voters, sync_version=changed.sync_version)

    async def hand_over(self, store: Store, winner: str) -> None:
        """Give the lock to another member if it is still as read. Its Patroni finds that it has the lock and promotes;
        the old holder's finds that it has lost it, and demotes. There is no race that it could win back."""
        now = datetime.now(UTC).isoformat()
        change = {"leader": winner, "acquireTime": now, "renewTime": now, HANDED_OVER_FROM: store.primary}
        await self._set(LEADER, store.leader_version, change)

    async def _set(self, name: str, version: int | None, annotations: Mapping[str, str | None]) -> Object:
        patch: dict[str, Any] = {"metadata": {"annotations": dict(annotations)}}
        if version is not None:
            patch["metadata"]["resourceVersion"] = str(version)
        try:
            return await self._client.merge_patch(f"{self._base}/configmaps/{name}", patch, REQUEST_SECONDS)
        except ApiError as error:
            if error.status == 409:
                raise Conflict(f"{name} has changed since version {version}") from error
            raise StoreError(f"{name}: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise StoreError(f"{name}: {type(error).__name__} {error}") from error


def _annotations(item: Object | None) -> dict[str, str]:
    found: dict[str, str] = ((item or {}).get("metadata") or {}).get("annotations") or {}
    return found


def _version(item: Object | None) -> int:
    return int(((item or {}).get("metadata") or {}).get("resourceVersion") or 0)


def _settings(maps: Mapping[str, Object]) -> dict[str, Any]:
    """Patroni's dynamic configuration."""
    try:
        found = json.loads(_annotations(maps.get(CONFIG)).get("config") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: object) -> int:
    """Patroni takes nothing below 1."""
    return max(1, value) if isinstance(value, int) else 1
