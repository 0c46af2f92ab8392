"""The cut on real servers: PostgreSQL's startup process and walreceiver, as in a member's pod."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from support.postgres import Cluster, Server, eventually, throw_away_cluster

from okitoki_agents import procfs
from okitoki_agents.database import local as local_module
from okitoki_agents.database.local import CutError, LocalServer, host_of


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast the cut is is measured by drills; a busy machine must not fail these tests."""
    for name in ("PAUSE_SECONDS", "ENDING_SECONDS", "QUERY_SECONDS"):
        monkeypatch.setattr(local_module, name, 20.0)


@pytest.fixture(scope="module")
def template() -> Iterator[Server]:
    """A stopped server to copy."""
    with throw_away_cluster() as cluster:
        server = cluster.primary("template")
        server.sql("create table t (n int)")
        server.stop("fast")
        yield server


@pytest.fixture
def pair(template: Server) -> Iterator[tuple[Server, Server]]:
    """A primary whose commits wait for its one standby."""
    with throw_away_cluster() as cluster:
        yield synchronous(cluster, template)


def synchronous(cluster: Cluster, template: Server) -> tuple[Server, Server]:
    primary = cluster.copy(template)
    standby = cluster.standby(primary)
    primary.configure(synchronous_standby_names="second")
    return primary, standby


def local(server: Server) -> LocalServer:
    return LocalServer(server.conninfo(host=str(server.directory)), server.data)


class Writer:
    """One client that inserts as fast as it is acknowledged."""

    def __init__(self, primary: Server) -> None:
        self.acknowledged: list[float] = []
        self._stop = threading.Event()
        self._primary = primary
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with psycopg.connect(self._primary.conninfo(), autocommit=True) as connection:
            while not self._stop.is_set():
                try:
                    connection.execute("insert into t values (1)")
                except psycopg.Error:
                    return
                self.acknowledged.append(time.monotonic())

    def since(self, moment: float) -> int:
        return sum(at > moment for at in self.acknowledged)

    def stop(self) -> None:
        self._stop.set()


async def test_nothing_is_acknowledged_between_the_confirmed_cut_and_its_end(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    writer, server = Writer(primary), local(standby)
    try:
        await asyncio.to_thread(eventually, lambda: writer.since(0) > 20, "writes flow")
        await server.cut()
        cut = time.monotonic()
        # A reply that was under way when the cut was confirmed counts as before it: its data are here.
        await asyncio.sleep(0.2)
        settled = time.monotonic()
        await asyncio.sleep(2.0)  # several times wal_retrieve_retry_interval
        assert await server.in_recovery() is True, "it answers while it is cut"
        assert writer.since(settled) == 0
        assert writer.since(cut) <= 1
        await server.resume()
        await asyncio.to_thread(eventually, lambda: writer.since(settled) > 20, "writes flow again")
    finally:
        writer.stop()


async def test_the_end_of_the_pause_that_patroni_orders_does_not_end_the_cut(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    await local(standby).cut()
    standby.sql("select pg_wal_replay_resume()")
    await asyncio.sleep(1.0)
    assert primary.sql("select count(*) from pg_stat_replication") == [(0,)]
    await local(standby).resume()


async def test_a_server_that_is_cut_promotes_when_it_may_go_on(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    server = local(standby)
    primary.sql("insert into t values (42)")
    await server.cut()
    assert not (await server.state(upstream=True)).promoting
    waiting = asyncio.create_task(asyncio.to_thread(standby.promote))
    await _until(server, promoting=True)
    await server.resume()
    await waiting
    assert standby.sql("select pg_is_in_recovery()") == [(False,)]
    assert standby.sql("select n from t") == [(42,)]


async def test_a_server_that_is_being_stopped_says_so_and_ends_when_it_may(pair: tuple[Server, Server]) -> None:
    _, standby = pair
    server = local(standby)
    await server.cut()
    waiting = asyncio.create_task(asyncio.to_thread(standby.stop, "fast"))
    await _until(server, stopping=True)
    server.let_go()
    await waiting
    assert (await server.state(upstream=True)).running is False


async def test_cutting_twice_is_cutting_once(pair: tuple[Server, Server]) -> None:
    _, standby = pair
    server = local(standby)
    await server.cut()
    await server.cut()
    await server.enforce()
    await server.resume()


async def test_what_cannot_be_cut_is_not_confirmed(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    with pytest.raises(CutError, match="no standby"):
        await local(primary).cut()
    standby.stop()
    with pytest.raises(CutError, match="does not answer"):
        await local(standby).cut()


async def test_a_frozen_server_is_not_confirmed(pair: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch) -> None:
    _, standby = pair
    monkeypatch.setattr(local_module, "QUERY_SECONDS", 1.0)
    standby.freeze()
    try:
        with pytest.raises(CutError, match="too slow"):
            await local(standby).cut()
    finally:
        standby.thaw()


async def test_the_agent_reads_where_the_stream_would_come_from(pair: tuple[Server, Server]) -> None:
    _, standby = pair
    assert (await local(standby).state(upstream=True)).upstream == "127.0.0.1"
    standby.sql("alter system set primary_conninfo = 'host=10.0.0.3 user=x'")
    standby.sql("select pg_reload_conf()")
    await _until(local(standby), upstream="10.0.0.3")


async def test_a_server_knows_whether_it_is_in_recovery(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    assert await local(primary).in_recovery() is False
    assert await local(standby).in_recovery() is True
    assert [await local(one).is_primary() for one in pair] == [True, False]
    standby.sql("select pg_promote()")
    assert await local(standby).is_primary()
    standby.stop()
    assert await local(standby).in_recovery() is None
    assert not await local(standby).is_primary()


def test_the_host_of_a_connection_string() -> None:
    assert host_of("user=replicator host=10.0.0.7 port=5432 passfile=/tmp/pgpass") == "10.0.0.7"
    assert host_of("user=replicator") is None
    assert host_of("") is None


def test_a_process_that_is_gone_is_none() -> None:
    assert procfs.process(2**22 + 1) is None


async def _until(server: LocalServer, **wanted: object) -> None:
    for _ in range(300):
        found = await server.state(upstream=True)
        if all(getattr(found, name) == value for name, value in wanted.items()):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{found}, not {wanted}")


async def test_what_a_server_has_is_told_when_it_is_cut(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    server = local(standby)
    primary.sql("insert into t values (1)")
    before = await server.cut()
    await server.resume()
    await asyncio.to_thread(primary.sql, "insert into t values (2)")
    after = await server.cut()
    assert after > before
    assert after.timeline == 1
    await server.resume()


async def test_a_received_timeline_counts_although_it_has_not_been_replayed(pair: tuple[Server, Server]) -> None:
    """What is not replayed yet may have been acknowledged; a server that is on the old timeline has less."""
    primary, standby = pair
    primary.sql("alter system set synchronous_standby_names = ''")
    primary.stop("fast")
    standby.promote()
    follower_of = f"host=127.0.0.1 port={standby.port} user=superuser password=throw-away"
    (primary.data / "standby.signal").touch()
    with (primary.data / "postgresql.auto.conf").open("a") as configuration:
        configuration.write(f"primary_conninfo = '{follower_of}'\nrecovery_target_timeline = 'latest'\n")
    primary.start()
    await asyncio.to_thread(
        eventually, lambda: standby.sql("select count(*) from pg_stat_replication") == [(1,)], "streams"
    )
    primary.sql("select pg_wal_replay_pause()")
    standby.sql("insert into t values (3)")
    ((end,),) = standby.sql("select pg_current_wal_lsn()::text")
    received = f"select pg_last_wal_receive_lsn() >= '{end}'"
    await asyncio.to_thread(eventually, lambda: primary.sql(received) == [(True,)], "the insert has been received")
    found = await local(primary).cut()
    assert found.timeline == 2
    await local(primary).resume()
