"""What is known of the carriers' trunks, from answers to OPTIONS."""

import asyncio
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.edge_agent.support import facts

from okitoki_agents.edge import kamailio
from okitoki_agents.edge.agent import trunks
from okitoki_agents.edge.agent.status import Node, Peer
from okitoki_agents.edge.agent.trunks import Trunk, Trunks, judged, options, question

HOST = "198.18.16.150"


def after(*codes: int | None, trunk: Trunk | None = None) -> Trunk:
    found = trunk or Trunk("main", HOST)
    for second, code in enumerate(codes, 100):
        found = judged(found, code, float(second))
    return found


def test_one_answer_makes_a_trunk_live_whatever_it_says() -> None:
    for code in (200, 404, 405, 486, 500):
        found = after(code)
        assert (found.state, found.code, found.since, found.dead) == ("answers", code, 100, False)


def test_two_questions_without_an_answer_make_it_silent_and_one_does_not() -> None:
    assert after(200, None).state == "answers"
    found = after(200, None, None, None)
    assert (found.state, found.since, found.code, found.dead) == ("silent", 102, None, True)
    assert after(200, None, 200, None).state == "answers"
    assert after(200, None, None, 200).state == "answers"


def test_a_carrier_that_refuses_takes_no_calls() -> None:
    found = after(200, 503, 503)
    assert (found.state, found.code, found.dead) == ("refuses", 503, True)
    assert after(503, 503, 404).state == "answers"


def test_nothing_follows_from_the_silence_of_a_trunk_that_has_never_answered() -> None:
    found = after(*[None] * 20)
    assert (found.state, found.since, found.dead) == ("unproven", 0, False)


def test_what_is_told_does_not_change_while_the_state_is_the_same() -> None:
    assert after(200, 405, 200, None, 404).document() == after(200).document()


class Kamailio:
    """Its table `dead_trunks`; `up`: it answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.table: dict[str, str] = {}
        self.up = True
        monkeypatch.setattr(kamailio, "rpc", self.rpc)

    def rpc(self, _: Any, method: str, table: str, *rest: str) -> Any:
        if not self.up:
            raise ConnectionError
        assert table == "dead_trunks"
        match method, rest:
            case "htable.dump", ():
                slot = [{"name": name, "value": value, "type": "str"} for name, value in self.table.items()]
                return [{"entry": 1, "size": len(slot), "slot": slot}] if slot else []
            case "htable.sets", (name, value):
                self.table[name] = value
            case "htable.delete", (name,):
                del self.table[name]
        return None


class Case:
    """An agent's trunks; `answer` is what the trunk says next, `clock` moves five seconds with each look."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: int | None = 200
        self.asked: list[str] = []
        self.changes = 0
        self.clock = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.clock)
        self.pair: Any = SimpleNamespace(own=Node(holds=("sip",)), peer=None)
        self.kamailio = Kamailio(monkeypatch)
        self.file = folder / "trunks.json"
        self.facts = facts(folder)
        self.trunks = self.make()

    def make(self) -> Trunks:
        return Trunks(self.facts, self.pair, self.file, self.changed, self.ask)

    def changed(self) -> None:
        self.changes += 1

    async def ask(self, host: str) -> int | None:
        self.asked.append(host)
        return self.answer

    async def look(self, answer: int | None, times: int = 1) -> str:
        self.answer = answer
        for _ in range(times):
            self.clock += 5.0
            await self.trunks.look()
        return self.trunks.trunks[HOST].state


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(tmp_path, monkeypatch)


async def test_kamailio_is_told_of_a_dead_trunk_and_of_its_return(case: Case) -> None:
    assert await case.look(200) == "answers"
    assert case.kamailio.table == {}
    assert await case.look(None, 2) == "silent"
    assert case.kamailio.table == {HOST: "silent"}
    case.kamailio.table.clear()  # a new Kamailio
    await case.look(None, 3)
    assert case.kamailio.table == {HOST: "silent"}
    assert await case.look(405) == "answers"
    assert case.kamailio.table == {}


async def test_a_kamailio_that_was_away_is_told_at_the_next_look(case: Case) -> None:
    await case.look(200)
    case.kamailio.up = False
    await case.look(None, 2)
    case.kamailio.up = True
    case.clock += 1.0
    await case.trunks.look()
    assert case.kamailio.table == {HOST: "silent"}


async def test_a_trunk_is_asked_as_often_as_the_region_says(case: Case) -> None:
    for _ in range(20):
        case.clock += 1.0
        await case.trunks.look()
    assert len(case.asked) == 4


async def test_at_rest_nothing_is_written_and_nobody_is_woken(case: Case) -> None:
    await case.look(200)
    before = (case.changes, case.file.stat().st_mtime_ns)
    await case.look(200, 10)
    assert (case.changes, case.file.stat().st_mtime_ns) == before


async def test_what_is_known_outlives_the_agent(case: Case) -> None:
    await case.look(200)
    await case.look(None, 2)
    known = case.trunks.documents()
    case.trunks = case.make()
    assert case.trunks.documents() == known
    case.file.write_text(json.dumps({HOST: {"state": "strange", "since": 5}, "203.0.113.9": {}}))
    assert case.make().documents() == {HOST: Trunk("main", HOST).document()}


async def test_the_other_node_asks_nobody_and_takes_over_what_is_known(case: Case) -> None:
    known = {HOST: {"carrier": "main", "state": "silent", "since": 7, "code": None}}
    case.pair.own = Node()
    case.pair.peer = Peer("198.18.1.2", answers=True, ready=True, node=Node(holds=("sip",), trunks=known))
    assert await case.look(200) == "silent"
    assert case.asked == []
    assert case.kamailio.table == {HOST: "silent"}
    case.pair.peer = Peer("198.18.1.2", answers=False, ready=False, node=Node())
    case.pair.own = Node(holds=("sip",))
    assert await case.look(None) == "silent"
    assert case.trunks.documents() == known


async def test_the_silence_of_a_node_that_has_lost_the_address_says_nothing_of_the_trunk(case: Case) -> None:
    await case.look(200)

    async def lose(_: str) -> int | None:
        case.pair.own = Node()
        return None

    case.trunks._ask = lose
    for _ in range(3):
        case.pair.own = Node(holds=("sip",))
        await case.look(None)
    assert case.trunks.trunks[HOST].state == "answers"


class Proxy(asyncio.DatagramProtocol):
    """Stands in for Kamailio and the trunk behind it."""

    def __init__(self, *codes: int) -> None:
        self.codes, self.seen = codes, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.seen = data
        for code in self.codes:
            self.transport.sendto(f"SIP/2.0 {code} Word\r\n\r\n".encode(), address)


@pytest.mark.parametrize(
    ("codes", "found"), [((100, 200), 200), ((405,), 405), ((408,), None), ((477,), None), ((), None)]
)
async def test_a_question_goes_to_kamailio_and_its_own_answers_are_none(
    codes: tuple[int, ...], found: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trunks, "ANSWER_SECONDS", 0.2)
    proxy = Proxy(*codes)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: proxy, ("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    try:
        assert await options(facts(tmp_path, {"dmq": port}), HOST) == found
    finally:
        transport.close()
    assert proxy.seen.startswith(f"OPTIONS sip:{HOST} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:".encode())


def test_the_question_speaks_for_the_sip_address(tmp_path: Path) -> None:
    text = question(facts(tmp_path), HOST, 4711).decode()
    assert "From: <sip:edge@198.18.16.200>;tag=" in text
    assert "Contact: <sip:edge@198.18.16.200:5060>" in text
    assert text.endswith("Content-Length: 0\r\n\r\n")
