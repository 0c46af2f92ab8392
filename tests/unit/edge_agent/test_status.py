"""When a node is ready, when the pair is protected, and what is said about it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from unit.edge_agent.doubles import FakeRedis
from unit.edge_agent.support import facts

from okitoki_agents.edge.agent import media, server, status
from okitoki_agents.edge.agent.media import MediaError, Sessions, sessions
from okitoki_agents.edge.agent.pair import BAD_LOOKS, EQUAL_LOOKS, UNEQUAL_LOOKS, Pair
from okitoki_agents.edge.agent.reporter import Reporter, metadata_patch
from okitoki_agents.edge.agent.status import NEEDED, NEEDED_BY_PEER, Node, Peer

GOOD = dict.fromkeys((*NEEDED, NEEDED_BY_PEER), "ok")
_LINE = "ID: {:>60} | del:n | creat:  1795575207 | prx:198.18.16.11:42249 | redis: 1 | frgn:{} | rec:n\n"
ANSWER = "".join(_LINE.format(f"{n}@198.18.16.150", foreign) for n, foreign in enumerate("nnny"))


def node(holds: tuple[str, ...] = (), one: tuple[int, int] = (0, 0), two: tuple[int, int] = (0, 0)) -> Node:
    return Node(holds, GOOD, {"1": Sessions(*one), "2": Sessions(*two)})


PEER = Peer("198.18.1.2", answers=True, ready=True, node=node())


def test_a_guards_word_that_is_none_means_nothing_is_known() -> None:
    for document in (None, [], {}, {"holds": "sip", "services": {}}, {"holds": [], "services": []}):
        assert status.parse_guard_status(document) == Node()
    assert status.parse_guard_status({"holds": ["media-2", "sip", "x"], "services": {"redis": "ok"}}) == Node(
        ("sip", "media-2"), {"redis": "ok"}
    )


def test_what_a_node_tells_its_peer_comes_back() -> None:
    told = node(("sip",), one=(3, 0))
    assert status.parse_node_document(json.loads(json.dumps(status.node_document(told, True)))) == (told, True)


def test_a_node_is_ready_when_everything_is_good() -> None:
    assert status.unready(node(), True, True, None) == []


@pytest.mark.parametrize("service", NEEDED)
def test_one_bad_service_is_enough_and_is_named(service: str) -> None:
    bad = Node((), {**GOOD, service: "frozen"})
    assert status.unready(bad, True, True, None) == [f"{service} is frozen"]
    assert f"{service} is frozen" in status.unprotected(bad, PEER, True, True, [])


def test_a_node_without_its_tunnel_serves_on_but_protects_nobody() -> None:
    bad = Node((), {**GOOD, "tunnel": "down"})
    assert status.unready(bad, True, True, None) == []
    assert status.unprotected(bad, PEER, True, True, []) == ["tunnel is down"]


def test_guard_routes_and_haproxy_count_too() -> None:
    assert len(status.unready(node(), False, False, "refused\nline 2")) == 3


def test_calls_of_the_active_engine_are_foreign_on_the_standby() -> None:
    active, standby = node(("media-1",), one=(30, 0), two=(0, 12)), node(("media-2",), one=(0, 30), two=(12, 0))
    assert status.lacking_calls(active, standby) == []
    assert status.lacking_calls(standby, active) == []


def test_a_standby_without_the_calls_is_told() -> None:
    active, standby = node(("media-1", "media-2"), one=(30, 0), two=(1, 0)), node(one=(0, 4))
    assert status.lacking_calls(active, standby) == ["media-1: 30 calls, 4 of them known to the standby"]
    assert status.lacking_calls(standby, active) == ["media-1: 30 calls, 4 of them known to the standby"]


def test_calls_that_come_and_go_are_tolerated() -> None:
    assert status.lacking_calls(node(("media-1",), one=(2, 0)), node()) == []
    assert status.lacking_calls(node(("media-1",), one=(100, 0)), node(one=(0, 95))) == []


def test_a_standby_that_knows_calls_which_are_over_protects_all_the_same() -> None:
    assert status.lacking_calls(node(("media-1",), one=(0, 0)), node(one=(0, 40))) == []


def test_an_engine_that_is_silent_is_told() -> None:
    assert "rtpengine-2 does not tell its calls" in status.lacking_calls(Node((), GOOD, {"1": Sessions(0, 0)}), node())


def test_protection_needs_the_peer_and_both_redis() -> None:
    assert status.unprotected(node(), PEER, True, True, []) == []
    assert status.unprotected(node(), None, True, False, []) == ["the peer is not known"]
    silent = Peer("198.18.1.2", answers=False, ready=False, node=Node())
    assert status.unprotected(node(), silent, True, True, []) == ["the peer's agent at 198.18.1.2 does not answer"]
    reasons = status.unprotected(node(), Peer("198.18.1.2", True, False, Node()), False, False, ["media-1: 3 calls"])
    assert len(reasons) == 4


def test_the_annotation_does_not_change_with_the_number_of_calls() -> None:
    def made(calls: int) -> dict[str, Any]:
        because = [f"media-1: {calls} calls, 0 of them known to the standby"]
        return status.annotation(
            node(("sip",)), {"sip": 5}, "198.18.1.2", True, because, {"acme": '"1"'}, 0, "c0", ["a0"]
        )

    assert made(30) == made(31)
    assert made(1)["unprotectedBecause"] == ["media-1: the standby lacks calls"]
    assert made(1)["protected"] is False
    assert made(1)["since"] == {"sip": 5}


def test_moves_are_dated() -> None:
    since = status.moves((), ("sip",), {}, 100.7)
    assert since == {"sip": 100}
    assert status.moves(("sip",), ("sip",), since, 200) == since
    assert status.moves(("sip",), ("https",), since, 300) == {"sip": 300, "https": 300}


def test_a_patch_only_when_the_pod_says_something_else() -> None:
    document = {"holds": ["sip"], "protected": True}
    patch = metadata_patch(document, None)
    assert patch is not None
    assert patch["metadata"]["labels"] == {"platform.oki-toki.net/holds-sip": "true"}
    assert metadata_patch(document, {"metadata": patch["metadata"]}) is None
    assert metadata_patch({**document, "protected": False}, {"metadata": patch["metadata"]}) is not None
    assert metadata_patch(document, {"metadata": {**patch["metadata"], "labels": {}}}) is not None


async def test_a_report_is_written_once_although_the_watch_lags() -> None:
    class Client:
        patches: list[Any] = []  # noqa: RUF012 - one test

        async def merge_patch(self, path: str, patch: Any) -> None:
            self.patches.append((path, patch))

    client = Client()
    reporter = Reporter(client, "ns", "edge-0")  # type: ignore[arg-type]
    for _ in range(3):
        reporter._not_before = 0
        await reporter.report({"holds": []}, {"metadata": {}})
    assert [path for path, _ in client.patches] == ["/api/v1/namespaces/ns/pods/edge-0"]


async def test_an_engine_is_asked_on_its_command_port() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"list sessions all\n"
        writer.write(ANSWER.encode())
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    assert await media.sessions(port) == Sessions(3, 1)
    listening.close()
    await listening.wait_closed()
    with pytest.raises(MediaError):
        await media.sessions(port)


def test_metrics_are_in_the_text_format() -> None:
    text = server.metrics_text(
        [
            ("okitoki_edge_holds", {"address": "sip"}, 1.0),
            ("okitoki_edge_ready", {}, 0.0),
            ("okitoki_edge_holds", {}, 0.0),
        ]
    )
    assert text.count("# TYPE okitoki_edge_holds gauge") == 1
    assert 'okitoki_edge_holds{address="sip"} 1\n' in text
    assert "okitoki_edge_ready 0\n" in text


class PeerAgent:
    """The other node's agent."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.node = node()
        self.port = 0
        self.silent = False

    def told(self) -> dict[str, Any]:
        if self.silent:
            raise web.HTTPServiceUnavailable
        return status.node_document(self.node, not self.reasons)


@pytest.fixture
async def peer() -> AsyncIterator[PeerAgent]:
    agent = PeerAgent()
    app = server.application(lambda: agent.reasons, agent.told, list)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.2", 0).start()
    agent.port = runner.addresses[0][1]
    yield agent
    await runner.cleanup()


@pytest.fixture
async def pair(peer: PeerAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    import aiohttp

    async def sessions(port: int) -> Sessions:
        return Sessions(0, 0)

    monkeypatch.setattr(media, "sessions", sessions)
    monkeypatch.setattr("okitoki_agents.edge.agent.pair.redis_client", lambda facts, address: FakeRedis())
    made = Pair(facts(tmp_path, {"agent": peer.port}), lambda: None)
    status_file = tmp_path / "run" / "status.json"
    (status_file.parent / "pid").mkdir(parents=True)
    (status_file.parent / "pid" / "guard").write_text(f"{os.getpid()}\n")
    status_file.write_text(json.dumps({"holds": ["sip"], "services": GOOD}))
    made.peer_address = "127.0.0.2"
    made._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2))
    yield made
    await made._session.close()


async def look(pair: Pair, times: int = EQUAL_LOOKS) -> None:
    for _ in range(times):
        await pair.look()


async def test_a_good_pair_is_protected_once_its_calls_were_compared(pair: Pair) -> None:
    await look(pair, EQUAL_LOOKS - 1)
    assert pair.unprotected == ["the calls of both nodes are being compared"]
    await look(pair, 1)
    assert pair.unprotected == []
    assert pair.own.holds == ("sip",)
    assert "sip" in pair.since


async def test_a_node_whose_guard_is_silent_does_not_say_that_it_holds_what_the_guard_held(
    pair: Pair, tmp_path: Path
) -> None:
    """Seen in a drill: the peer had just got the addresses, heard that they were here too, and left them here."""
    await look(pair)
    (tmp_path / "run" / "pid" / "guard").unlink()
    (tmp_path / "run" / "heartbeat").touch()
    now = 100.0
    pair.deputy._clock = lambda: now
    for _ in range(20):
        pair.deputy.look()
        now += 0.25
    assert pair.deputy.said_farewell
    await look(pair, 1)
    assert pair.own.holds == ()


async def test_a_look_that_a_frozen_engine_holds_up_does_not_let_the_node_say_what_was_before(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen in a drill: the frozen relay's node said for three seconds that it still had the address, and the peer left
    it there, which had just taken it: audio was away for 3.8 s."""
    await look(pair)

    async def frozen(port: int) -> Sessions:
        (tmp_path / "run" / "status.json").write_text(json.dumps({"holds": [], "services": GOOD}))
        assert pair.now().holds == ()
        return Sessions(0, 0)

    monkeypatch.setattr(media, "sessions", frozen)
    await look(pair, 1)
    assert pair.own.holds == ()


async def test_a_peer_is_silent_only_after_several_looks(pair: Pair, peer: PeerAgent) -> None:
    await look(pair)
    peer.silent = True
    await look(pair, BAD_LOOKS - 1)
    assert pair.unprotected == []
    await look(pair, 1)
    assert pair.unprotected == ["the peer's agent at 127.0.0.2 does not answer"]
    peer.silent = False
    await look(pair)
    assert pair.unprotected == []


async def test_a_standby_that_starts_empty_is_not_trusted(pair: Pair, peer: PeerAgent) -> None:
    """A rollout would go on to the node that has the calls."""
    peer.node = node(("media-1",), one=(20, 0))
    await look(pair)
    assert pair.unprotected == ["media-1: 20 calls, 0 of them known to the standby"]


async def test_a_standby_is_not_trusted_again_at_once_after_a_fault(pair: Pair, peer: PeerAgent) -> None:
    await look(pair)
    peer.reasons = ["rtpengine-1 is down"]
    await look(pair, 1)
    assert pair.unprotected == ["the peer at 127.0.0.2 is not ready"]
    peer.reasons = []
    peer.node = node(("media-1",), one=(20, 0))
    await look(pair, 1)
    assert pair.unprotected == ["media-1: 20 calls, 0 of them known to the standby"]


async def test_unequal_calls_are_believed_only_after_several_looks(pair: Pair, peer: PeerAgent) -> None:
    await look(pair)
    peer.node = node(("media-1",), one=(20, 0))
    await look(pair, UNEQUAL_LOOKS - 1)
    assert pair.unprotected == []
    await look(pair, 1)
    assert pair.unprotected == ["media-1: 20 calls, 0 of them known to the standby"]
    peer.node = node()
    await look(pair, EQUAL_LOOKS)
    assert pair.unprotected == []


LEFT = {"sip", "https", "media-1", "media-2"}


def left(pair: Pair) -> set[str]:
    """What the guard is told to leave to the peer."""
    return set(pair._facts.paths.left.read_text().split())


async def test_a_node_that_is_serviced_leaves_everything_to_its_peer_and_takes_it_again_after(
    pair: Pair, peer: PeerAgent
) -> None:
    await look(pair)
    assert left(pair) == set()
    pair.drained = True
    await look(pair, 1)
    assert left(pair) == LEFT
    assert pair.unprotected == ["this node is drained"]
    assert pair.own.drained
    pair.drained = False
    await look(pair)
    assert (left(pair), pair.unprotected) == (set(), [])


async def test_calls_come_before_service(pair: Pair, peer: PeerAgent) -> None:
    """A drained node is there for a peer that is silent, not ready, or drained as well."""
    await look(pair)
    pair.drained = True
    peer.reasons = ["kamailio is down"]
    await look(pair, 1)
    assert left(pair) == set()
    assert "this node is drained, and serves on while the peer could not take everything" in pair.unprotected
    peer.reasons = []
    await look(pair, 1)
    assert left(pair) == LEFT
    peer.silent = True
    await look(pair, BAD_LOOKS)
    assert left(pair) == set()
    peer.silent, peer.node = False, Node((), GOOD, drained=True)
    await look(pair, 1)
    assert left(pair) == set()
    assert any("the peer is drained too" in reason for reason in pair.unprotected)


async def test_a_redis_that_stays_away_ends_protection(pair: Pair) -> None:
    await look(pair)
    own: Any = pair.own_redis
    own.down = True
    await look(pair, 1)
    assert pair.unprotected == []
    await look(pair, 1)
    assert pair.unprotected == ["Redis of this node does not answer"]


async def test_a_peer_that_never_answered_protects_nobody(pair: Pair, peer: PeerAgent) -> None:
    peer.silent = True
    await look(pair, 1)
    assert pair.unprotected == ["the peer's agent at 127.0.0.2 does not answer"]


async def test_an_engine_that_answers_in_pieces_is_understood() -> None:
    """rtpengine sends line by line and then closes the connection."""

    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"list sessions all\n"
        for line in ANSWER.splitlines(keepends=True):
            writer.write(line.encode())
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.close()

    server = await asyncio.start_server(engine, "127.0.0.1", 0)
    async with server:
        assert await sessions(server.sockets[0].getsockname()[1]) == Sessions(own=3, foreign=1)


async def test_an_engine_that_is_not_there_is_an_error() -> None:
    with pytest.raises(MediaError, match="command port"):
        await sessions(1)


async def test_a_standby_that_lacks_calls_is_told_them_again_by_the_node_that_has_them(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on a cluster: an engine started before it could reach its peer's Redis, and the pair stayed unprotected."""
    told: list[int] = []

    async def sessions(port: int) -> Sessions:
        return Sessions(own=9, foreign=0)

    async def claim(port: int) -> None:
        told.append(port)

    monkeypatch.setattr(media, "sessions", sessions)
    monkeypatch.setattr(media, "claim", claim)
    status_file = pair._facts.paths.status
    status_file.write_text(json.dumps({"holds": ["sip", "media-2"], "services": GOOD}))
    await look(pair, UNEQUAL_LOOKS - 1)
    assert told == []
    await look(pair, 1)
    assert told == [pair._facts.region.ports.cli[1]]
    await look(pair, UNEQUAL_LOOKS - 1)
    assert len(told) == 1


def test_an_address_on_both_nodes_is_no_protection() -> None:
    peer = Peer("198.18.16.12", answers=True, ready=True, node=node(("sip", "media-2")))
    found = status.unprotected(node(("sip", "media-1")), peer, own_redis=True, peer_redis=True, lacking=[])
    assert found == ["sip is on both nodes"]


def test_comings_are_handed_on_and_a_guard_without_them_is_understood() -> None:
    guard = status.parse_guard_status({"holds": ["sip"], "services": GOOD, "comings": {"sip": 3, "x": 1, "https": "y"}})
    assert guard.comings == {"sip": 3}
    handed, _ = status.parse_node_document(status.node_document(guard, ready=True))
    assert handed.comings == {"sip": 3}
    assert status.parse_guard_status({"holds": ["sip"], "services": GOOD}).comings == {}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"sip": 1}, {"sip": 2}, True),
        ({"sip": 1}, {"sip": 1}, False),
        ({"sip": 5}, {"sip": 1}, False),  # another guard
        ({}, {"sip": 1}, False),
        ({"sip": 5}, {}, False),
    ],
)
def test_an_address_that_has_come_is_a_move(before: dict[str, int], after: dict[str, int], expected: bool) -> None:
    old, new = Node(comings=before), Node(comings=after)
    assert status.moved((old, None), (new, None)) is expected
    assert status.moved((Node(), old), (Node(), new)) is expected


async def test_a_flap_between_two_looks_ends_protection_until_calls_were_compared(pair: Pair) -> None:
    def guard_says(comings: int) -> None:
        document = {"holds": ["sip"], "services": GOOD, "comings": {"sip": comings}}
        pair._facts.paths.status.write_text(json.dumps(document))

    guard_says(1)
    await look(pair)
    assert pair.unprotected == []
    guard_says(2)
    await look(pair, 1)
    assert pair.unprotected == ["the calls of both nodes are being compared"]
    await look(pair, EQUAL_LOOKS - 1)
    assert pair.unprotected == []


async def test_an_address_that_stays_on_both_nodes_is_left_to_its_home(pair: Pair, peer: PeerAgent) -> None:
    """The nodes see each other, but not each other's adverts."""
    peer.node = node(("https",))
    pair._facts.paths.status.write_text(json.dumps({"holds": ["sip", "https"], "services": GOOD}))
    await look(pair, 2)
    assert pair._facts.paths.left.read_text() == "\n"
    assert "https is on both nodes" in pair.unprotected
    await look(pair, 1)
    assert pair._facts.paths.left.read_text() == "https\n"
    assert "https is left to the peer, whose adverts do not arrive" in pair.unprotected
    peer.silent = True
    await look(pair, BAD_LOOKS)
    assert pair._facts.paths.left.read_text() == "\n"
