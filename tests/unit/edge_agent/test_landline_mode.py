"""Switches of tenants to landlines and back: from Kamailio's rows to the journal, the peer and the operator."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.edge_agent.support import facts

from okitoki_agents.edge import kamailio
from okitoki_agents.edge.agent import landline_mode
from okitoki_agents.edge.agent.landline_mode import LandlineMode, State, Switch, follow, parse, reported, rows
from okitoki_agents.edge.agent.status import Node, Peer


def switch(
    at: int, mode: Any = "landlines", tenant: str = "acme", number: int = 1, why: str = "phones-silent"
) -> Switch:
    return Switch(tenant, at, number, mode, why)


def test_rows_come_in_order_and_only_new_ones() -> None:
    table = {
        "acme:1": "1|landlines|1000|phones-silent",
        "acme:3": "3|landlines|3000|none-registered",
        "acme:2": "2|agents|3000|phone-answers",
        "globex:1": "1|agents|2000",
        "acme:4": "x|landlines|4000|no-routes",
        "acme:5": "5|strange|5000|no-routes",
        "acme:6": "",
    }
    assert rows(table, 1000) == [
        Switch("globex", 2000, 1, "agents", ""),
        Switch("acme", 3000, 2, "agents", "phone-answers"),
        Switch("acme", 3000, 3, "landlines", "none-registered"),
    ]


def test_a_switch_that_two_calls_made_at_once_counts_once() -> None:
    states, changes = follow({}, [switch(1000), switch(1001, number=2), switch(5000, "agents"), switch(5001, "agents")])
    assert states == {"acme": State("agents", 5, "phones-silent", 1)}
    assert [(change.at, change.mode) for change in changes] == [(1000, "landlines"), (5000, "agents")]
    assert follow({}, [switch(1000, "agents")]) == ({}, [])


def test_a_tenant_that_comes_and_goes_is_counted_each_time() -> None:
    modes = [switch(1000 * n, "landlines" if n % 2 else "agents") for n in range(1, 8)]
    states, changes = follow({}, modes)
    assert (states["acme"].switches, states["acme"].mode, len(changes)) == (4, "landlines", 7)


def test_what_is_told_comes_back_and_what_is_not_of_its_form_does_not() -> None:
    states = {"acme": State("landlines", 5, "no-routes", 2)}
    assert parse({name: state.document() for name, state in states.items()}) == states
    assert parse({"acme": {"mode": "away"}, "globex": 5, "x": {"mode": "agents"}}) == {}
    assert parse(None) == parse([]) == {}


def test_a_report_is_bounded_and_leaves_out_the_oldest_that_are_back() -> None:
    many = {f"t{n:04}": State("agents" if n % 2 else "landlines", n, "no-routes", 1) for n in range(300)}
    found = reported(many)
    assert len(found) == landline_mode.REPORTED
    assert sum(state["mode"] == "landlines" for state in found.values()) == 150
    assert "t0299" in found
    assert "t0001" not in found


class Kamailio:
    """Its tables."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tables: dict[str, dict[str, str]] = {"layer1": {}, "switches": {}}
        self.writes = 0
        monkeypatch.setattr(kamailio, "rpc", self.rpc)

    def rpc(self, _: Any, method: str, table: str, *rest: str) -> Any:
        match method, rest:
            case "htable.dump", ():
                return [{"slot": [{"name": name, "value": value}]} for name, value in self.tables[table].items()]
            case "htable.seti", (name, value):
                self.tables[table][name] = value
            case "htable.delete", (name,):
                del self.tables[table][name]
        self.writes += 1
        return None

    def switch(self, at: int, mode: str, why: str = "phones-silent", tenant: str = "acme") -> None:
        """As the script does it."""
        if mode == "landlines":
            self.tables["layer1"][tenant] = str(at // 1000)
        else:
            self.tables["layer1"].pop(tenant, None)
        number = len(self.tables["switches"]) + 1
        self.tables["switches"][f"{tenant}:{number % 16}"] = f"{number}|{mode}|{at}|{why}"


class Case:
    """The landline mode of a node that has the SIP address, unless a test takes it away."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.facts, self.folder = facts(folder), folder
        self.pair: Any = SimpleNamespace(own=Node(holds=("sip",)), peer=None)
        self.kamailio = Kamailio(monkeypatch)
        self.served = {"acme"}
        self.mode = self.make()

    def make(self) -> LandlineMode:
        return LandlineMode(self.facts, self.pair, self.folder, lambda name: name in self.served, lambda: None)

    def looks(self, times: int = 1) -> State | None:
        for _ in range(times):
            self.mode.look()
        return self.mode.states.get("acme")

    @property
    def journal(self) -> list[tuple[str, str, str]]:
        file = self.folder / "landline-mode.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [(line["at"], line["mode"], line["why"]) for line in lines]


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(tmp_path, monkeypatch)


def test_every_switch_is_in_the_journal_also_two_between_two_looks(case: Case) -> None:
    case.kamailio.switch(1_800_000_000_500, "landlines")
    assert case.looks() == State("landlines", 1_800_000_000, "phones-silent", 1)
    case.kamailio.switch(1_800_000_010_000, "agents", "phone-answers")
    case.kamailio.switch(1_800_000_010_100, "landlines", "none-registered")
    assert case.looks() == State("landlines", 1_800_000_010, "none-registered", 2)
    assert case.journal == [
        ("2027-01-15T08:00:00.500+00:00", "landlines", "phones-silent"),
        ("2027-01-15T08:00:10.000+00:00", "agents", "phone-answers"),
        ("2027-01-15T08:00:10.100+00:00", "landlines", "none-registered"),
    ]


def test_at_rest_nothing_is_written(case: Case) -> None:
    case.kamailio.switch(1000, "landlines")
    assert case.mode.look()
    files = {path: path.stat().st_mtime_ns for path in case.folder.iterdir() if path.is_file()}
    assert not any(case.mode.look() for _ in range(5))
    assert {path: path.stat().st_mtime_ns for path in case.folder.iterdir() if path.is_file()} == files
    assert case.kamailio.writes == 0


def test_a_new_agent_goes_on_where_the_old_one_was(case: Case) -> None:
    case.kamailio.switch(1000, "landlines")
    before = case.looks()
    case.mode = case.make()
    assert case.looks() == before
    assert len(case.journal) == 1


def test_a_new_kamailio_is_told_the_mode(case: Case) -> None:
    case.kamailio.switch(5000, "landlines")
    before = case.looks()
    case.kamailio.tables = {"layer1": {}, "switches": {}}
    assert case.looks() == before
    assert case.kamailio.tables["layer1"] == {}, "a switch may be under way"
    assert case.looks() == before
    assert case.kamailio.tables["layer1"] == {"acme": "5"}
    assert len(case.journal) == 1


def test_a_kamailio_that_switched_and_left_no_row_is_believed(case: Case) -> None:
    case.kamailio.tables["layer1"]["acme"] = "5"
    found = case.looks(2)
    assert found is not None
    assert (found.mode, found.why, found.switches) == ("landlines", "unknown", 1)
    assert [line[1:] for line in case.journal] == [("landlines", "unknown")]


def test_the_other_node_takes_over_the_mode_and_its_kamailio_too(case: Case) -> None:
    known = {"acme": State("landlines", 7, "no-routes", 3).document()}
    case.pair.own = Node()
    case.pair.peer = Peer("198.18.1.2", answers=True, ready=True, node=Node(holds=("sip",), landlines=known))
    assert case.looks(2) == State("landlines", 7, "no-routes", 3)
    assert case.kamailio.tables["layer1"] == {"acme": "7"}
    assert [line[1:] for line in case.journal] == [("landlines", "no-routes")]
    # The peer dies, the address comes; a phone answers.
    case.pair.peer, case.pair.own = None, Node(holds=("sip",))
    assert case.looks(3) == State("landlines", 7, "no-routes", 3)
    case.kamailio.switch(9000, "agents", "phone-answers")
    assert case.looks() == State("agents", 9, "phone-answers", 3)


def test_a_standby_forgets_what_the_other_node_has_ended(case: Case) -> None:
    case.kamailio.switch(5000, "landlines")
    case.looks()
    ended = {"acme": State("agents", 8, "phone-answers", 1).document()}
    case.pair.own = Node()
    case.pair.peer = Peer("198.18.1.2", answers=True, ready=True, node=Node(holds=("sip",), landlines=ended))
    case.looks(2)
    assert case.kamailio.tables["layer1"] == {}


def test_a_tenant_that_is_gone_leaves_no_state(case: Case) -> None:
    case.kamailio.switch(5000, "landlines")
    case.looks()
    case.served.clear()
    assert case.looks(3) is None
    assert case.mode.documents() == {}


def test_the_journal_is_turned_over_when_it_is_large(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landline_mode, "JOURNAL_BYTES", 50)
    for second in range(1, 5):
        case.kamailio.switch(1000 * second, "landlines" if second % 2 else "agents")
        case.looks()
    old = (case.folder / "landline-mode.jsonl.1").read_text().splitlines()
    assert len(old) + len(case.journal) == 4 or len(case.journal) == 1
