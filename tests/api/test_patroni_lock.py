"""Patroni's lock on a real API server, with the mend of images/postgres/patroni_main.py."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kopf
import pytest
from api.apiserver import kubeconfig
from support.patroni_entry import STORE, load, patronis

from okitoki.kube.client import Client
from okitoki.kube.resources import CONFIG_MAP

ha, kubernetes, mpp = patronis("ha", "dcs.kubernetes", "postgresql.mpp")
ORIGINALS = {name: getattr(kubernetes.Kubernetes, name) for name in STORE}
ORIGINAL = ORIGINALS["attempt_to_acquire_leader"]
SCOPE = {"app": "lock-test"}


def mends() -> dict[str, Callable[..., Any]]:
    """The functions of patroni_main.py by the name of what they mend, without leaving them in the class."""
    _, found = load()
    assert all(found[name] is not ORIGINALS[name] for name in STORE)
    return found


def mended() -> Callable[[Any], bool]:
    """Taking the lock, as mended."""
    return mends()["attempt_to_acquire_leader"]


class Lock:
    """Patroni's store as the member `postgres-0` has it, and the hand of somebody else on its leader object."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace
        self.store = kubernetes.Kubernetes(
            {"scope": "postgres", "name": "postgres-0", "namespace": namespace, "labels": SCOPE, "ttl": 20,
             "loop_wait": 5, "retry_timeout": 5, "context": "api-test", "pod_ip": "198.18.0.1"},
            mpp.get_mpp({}),
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

    def until_closed(cache: Any) -> None:
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


class Key:
    """What writing the synchronous key and giving the lock away look at: the cache, and this member's name."""

    _LEADER, _name, sync_path, config_path = "leader", "postgres-0", "postgres-sync", "postgres-config"

    def __init__(self, holder: str | None, standbys: str = "", *, stopping: bool = False) -> None:
        key = {"leader": holder, **({"sync_standby": standbys} if standbys else {})} if holder else None
        config = {"platform.oki-toki.net/stopping": "true"} if stopping else {}
        self._kinds = {"postgres-config": SimpleNamespace(metadata=SimpleNamespace(annotations=config))}
        if holder:
            self._kinds["postgres-sync"] = SimpleNamespace(metadata=SimpleNamespace(annotations=key))


@pytest.fixture
def doubled(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[..., Any]]:
    """The mends, over a store and a high availability that do nothing."""
    monkeypatch.setitem(ORIGINALS, "write_sync_state", lambda *_, **__: "written")
    monkeypatch.setitem(ORIGINALS, "delete_leader", lambda *_, **__: True)
    monkeypatch.setattr(ha.Ha, "shutdown", lambda _: None)
    for name, original in ORIGINALS.items():
        monkeypatch.setattr(kubernetes.Kubernetes, name, original)
    return mends()


@pytest.mark.parametrize(
    ("key", "standbys", "written"),
    [
        (Key("postgres-0", "postgres-1,postgres-2", stopping=True), [], None),
        (Key("postgres-0", "postgres-1,postgres-2", stopping=True), None, None),
        (Key("postgres-0", "postgres-1,postgres-2", stopping=True), ["postgres-2"], "written"),
        (Key("postgres-0", "postgres-1,postgres-2"), [], "written"),
        (Key("postgres-1", "postgres-0", stopping=True), None, "written"),
        (Key("postgres-0", stopping=True), None, "written"),
        (Key(None, stopping=True), None, "written"),
    ],
    ids=["all leave", "key given up", "one leaves", "no stop", "another's key", "empty already", "no key yet"],
)
def test_standbys_that_stop_before_the_primary_when_all_stop_stay_in_the_key(
    doubled: dict[str, Callable[..., Any]], key: Key, standbys: list[str] | None, written: str | None
) -> None:
    """Seen in CI: a tenant asleep that only the old primary's volume could have woken."""
    assert doubled["write_sync_state"](key, "postgres-0", standbys, 0, version="7") == written


@pytest.mark.parametrize(("ends", "stopping"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_primary_that_ends_because_all_do_gives_its_lock_to_nobody(
    doubled: dict[str, Callable[..., Any]], ends: bool, stopping: bool
) -> None:
    store = Key("postgres-0", "postgres-1", stopping=stopping)
    if ends:
        doubled["shutdown"](SimpleNamespace(dcs=store))
    assert doubled["delete_leader"](store, None, 7) == (not (ends and stopping))


@pytest.mark.parametrize(("holder", "waits"), [("postgres-0", True), ("postgres-1", False), (None, False)])
def test_who_takes_its_lock_again_writes_its_own_key_only_after_a_renewal(
    monkeypatch: pytest.MonkeyPatch, holder: str | None, waits: bool
) -> None:
    """Else it would admit a voter that agents, who compare key and lock one after the other, can't see."""
    answers = iter([True, False, True])
    monkeypatch.setitem(ORIGINALS, "update_leader", lambda *_: next(answers))
    monkeypatch.setitem(ORIGINALS, "write_sync_state", lambda *_, **__: "written")
    monkeypatch.setitem(ORIGINALS, "attempt_to_acquire_leader", lambda _: True)
    for name, original in ORIGINALS.items():
        monkeypatch.setattr(kubernetes.Kubernetes, name, original)
    found, key = mends(), Key(holder)

    def write() -> object:
        return found["write_sync_state"](key, "postgres-0", ["postgres-2"], 0, version="7")

    assert write() == "written"
    assert found["update_leader"](key, None, 0)
    assert write() == "written"
    assert found["attempt_to_acquire_leader"](key)
    assert write() == (None if waits else "written")
    assert not found["update_leader"](key, None, 0)
    assert write() == (None if waits else "written"), "a renewal that failed is none"
    assert found["update_leader"](key, None, 0)
    assert write() == "written"
