"""Patroni's lock on a real API server, with the mend of images/postgres/patroni_main.py."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import kopf
import pytest
from api.apiserver import kubeconfig
from patroni.dcs import kubernetes
from patroni.postgresql.mpp import get_mpp

from okitoki.kube.client import Client
from okitoki.kube.resources import CONFIG_MAP

MAIN = Path(__file__).parents[2] / "images/postgres/patroni_main.py"
ORIGINAL = kubernetes.Kubernetes.attempt_to_acquire_leader
SCOPE = {"app": "lock-test"}


def mended() -> Callable[[Any], bool]:
    """The function of patroni_main.py, without leaving it in the class."""
    spec = importlib.util.spec_from_file_location("patroni_main", MAIN)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        assert kubernetes.Kubernetes.attempt_to_acquire_leader is not ORIGINAL
        return kubernetes.Kubernetes.attempt_to_acquire_leader
    finally:
        kubernetes.Kubernetes.attempt_to_acquire_leader = ORIGINAL


class Lock:
    """Patroni's store as the member `postgres-0` has it, and the hand of somebody else on its leader object."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace
        self.store = kubernetes.Kubernetes(
            {"scope": "postgres", "name": "postgres-0", "namespace": namespace, "labels": SCOPE, "ttl": 20,
             "loop_wait": 5, "retry_timeout": 5, "context": "api-test", "pod_ip": "198.18.0.1"},
            get_mpp({}),
        )  # fmt: skip

    def see(self) -> None:
        """Wait until Patroni's cache has what the API server has now, and read the cluster as its loop does."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            self.store.get_cluster()
            if self.store._kinds.get("postgres-leader") is not None:
                return
            time.sleep(0.1)
        raise AssertionError("Patroni's cache has no leader object")

    def close(self) -> None:
        """End the threads of Patroni's caches, which would go on asking an API server that is gone."""

        def end(**_: Any) -> Any:
            raise SystemExit  # the caches survive every Exception

        for cache in (self.store._kinds, self.store._pods):
            cache._func = end
            cache.kill_stream()
            cache.join(10)

    async def written(self, leader: str) -> None:
        """A write that Patroni's cache does not know of yet, as one that an API server carries out late."""
        await self._client.apply({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "postgres-leader", "namespace": self._namespace,
                "labels": {**SCOPE, "cluster-name": "postgres"},
                "annotations": {"leader": leader, "renewTime": str(time.monotonic_ns())},
            },
        })  # fmt: skip

    async def holder(self) -> str:
        found = await self._client.get(CONFIG_MAP, "postgres-leader", self._namespace)
        assert found
        return str(found["metadata"]["annotations"]["leader"])


@pytest.fixture
async def lock(
    connection: kopf.ConnectionInfo, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lock]:
    run = kubernetes.ObjectCache.run

    def until_closed(cache: kubernetes.ObjectCache) -> None:
        with contextlib.suppress(SystemExit):
            run(cache)

    monkeypatch.setattr(kubernetes.ObjectCache, "run", until_closed)
    namespace = f"lock-{time.monotonic_ns()}"
    await client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    monkeypatch.setattr(kubernetes, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig(connection, tmp_path / "config")))
    found = Lock(client, namespace)
    await found.written("postgres-0")
    found.see()
    # From here on the cache is as old as it is for a server whose watches are silent.
    monkeypatch.setattr(found.store._kinds, "get", lambda _: None)
    yield found
    await asyncio.to_thread(found.close)


async def test_patroni_itself_gives_its_lock_up_over_a_late_write_of_its_own(lock: Lock) -> None:
    """Seen on a cluster: the API server woke after 30 s, and each healthy primary was demoted. When Patroni no longer
    does this, patroni_main.py is not needed any more."""
    await lock.written("postgres-0")
    assert not ORIGINAL(lock.store)


async def test_a_lock_with_a_late_write_of_its_own_is_kept(lock: Lock) -> None:
    await lock.written("postgres-0")
    assert mended()(lock.store)
    assert await lock.holder() == "postgres-0"


async def test_a_lock_that_somebody_else_took_is_not_taken_back(lock: Lock) -> None:
    await lock.written("postgres-1")
    assert not mended()(lock.store)
    assert await lock.holder() == "postgres-1"


async def test_a_lock_that_somebody_takes_after_the_look_is_not_taken_back(
    lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lock.written("postgres-0")
    attempt, calls = mended(), 0
    read = lock.store._api.read_namespaced_kind

    def read_then_lose(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        found = read(*arguments, **options)
        asyncio.run_coroutine_threadsafe(lock.written("postgres-1"), loop).result(10)
        return found

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(lock.store._api, "read_namespaced_kind", read_then_lose, raising=False)
    assert not await asyncio.to_thread(attempt, lock.store)
    assert calls > 1
    assert await lock.holder() == "postgres-1"


async def test_a_free_way_takes_one_attempt(lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("the lock was read again")

    monkeypatch.setattr(lock.store._api, "read_namespaced_kind", never, raising=False)
    assert mended()(lock.store)
