"""A primary that has no API server goes on with the word of enough voters: images/postgres/patroni_main.py."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.patroni_entry import load, patronis

api, dcs, ha = patronis("api", "dcs", "ha")
PRIMARY = "postgres-0"
STATUS = {"role": "replica", "state": "running", "xlog": {"received_location": 100, "replayed_location": 100}}


@pytest.fixture
def main(tmp_path: Path) -> Iterator[Any]:
    """The module, as after a first start."""
    module, _ = load()
    module.PROMISE = module.Promise(tmp_path / "promise.json")
    return module


def told(main: Any, status: Mapping[str, Any]) -> dict[str, Any]:
    """What a member answers to GET /patroni."""
    written: list[dict[str, Any]] = []
    main.tell_no_position(lambda _self, _code, response: written.append(response))(None, 200, dict(status))
    return written[0]


class Candidate:
    """Patroni's own race, as a member that can reach the API server and no primary runs it."""

    def __init__(self, name: str, key: Any, members: Mapping[str, Mapping[str, Any]]) -> None:
        self._members = members
        self.cluster = SimpleNamespace(sync=key, timeline=1)
        self.state_handler = SimpleNamespace(name=name, last_operation=lambda: 100, replica_cached_timeline=lambda _: 1)
        self.patroni = SimpleNamespace(failover_priority=1)

    def yes(self, *_: Any) -> bool:
        return True

    def no(self, *_: Any) -> bool:
        return False

    is_lagging, is_standby_cluster, check_timeline = no, no, yes
    quorum_commit_mode_is_active = sync_mode_is_active = yes

    def fetch_nodes_statuses(self, members: Collection[Any]) -> list[Any]:
        """By the real parser, and what the real fetch makes of an answer that it can't read."""
        found = []
        for member in members:
            try:
                found.append(ha._MemberStatus.from_api_response(member, self._members[member.name]))
            except KeyError:
                found.append(ha._MemberStatus.unknown(member))
        return found

    def wins(self) -> bool:
        known = [dcs.RemoteMember(name, {"api_url": f"http://{name}/patroni"}) for name in self._members]
        return bool(ha.Ha._is_healthiest_node(self, known))


def histories() -> Iterator[tuple[list[str], int, set[str]]]:
    """Voters, the key's quorum, and who of the voters promised."""
    for count in range(1, 5):
        voters = [f"postgres-{n}" for n in range(1, count + 1)]
        for quorum in range(count):
            for size in range(count + 1):
                for promised in itertools.combinations(voters, size):
                    yield voters, quorum, set(promised)


def winners(main: Any, voters: Collection[str], quorum: int, promised: Collection[str]) -> list[str]:
    """Who of the members without a promise, voters and one that is none, wins Patroni's race: the primary is not
    reached, those with a promise answer as bound, all others are there and behind nobody."""
    key = dcs.SyncState(1, PRIMARY, ",".join(voters), quorum)
    bound = told(main, STATUS)
    found = []
    for name in {*voters, "postgres-9"} - set(promised):
        members = {one: bound if one in promised else STATUS for one in voters if one != name}
        if Candidate(name, key, members).wins():
            found.append(name)
    return found


def test_nobody_is_elected_beside_a_primary_that_has_enough_promises(main: Any) -> None:
    """With the members' answers as they are and Patroni's own count of them, in every case of up to four voters."""
    main.PROMISE.give(PRIMARY, 40)
    for voters, quorum, promised in histories():
        key = {"leader": PRIMARY, "sync_standby": ",".join(voters), "quorum": str(quorum)}
        elected = winners(main, voters, quorum, promised)
        assert main.enough_promises(key, promised) == (not elected), (voters, quorum, promised, elected)


def test_a_promise_that_withholds_no_position_would_not_do(main: Any) -> None:
    """What the promise is good for: without it, the frozen standby of three servers is elected when it wakes."""
    assert "postgres-2" in winners(main, ["postgres-1", "postgres-2"], 1, {"postgres-1"})


def test_promises_of_no_voters_are_not_enough(main: Any) -> None:
    assert not main.enough_promises({}, {"postgres-1"})
    assert not main.enough_promises({"leader": PRIMARY, "sync_standby": "", "quorum": "0"}, {"postgres-1"})
    assert not main.enough_promises({"leader": PRIMARY, "sync_standby": "postgres-1", "quorum": "0"}, {"postgres-2"})


class Store:
    """What Patroni's cache has of the synchronous key."""

    sync_path, _LEADER, _name, ttl = "postgres-sync", "leader", PRIMARY, 20

    def __init__(self, leader: str = PRIMARY) -> None:
        key = {"leader": leader, "sync_standby": "postgres-1,postgres-2", "quorum": "1"}
        self.found = SimpleNamespace(metadata=SimpleNamespace(annotations=key, resource_version="7"))
        self._kinds = SimpleNamespace(get=lambda _: self.found)


def goes_on(main: Any, store: Store, *accepting: str) -> bool:
    """Whether a primary whose members are asked goes on; Patroni itself wants the word of both."""
    call = main.note_promised(lambda _self, _data, name: SimpleNamespace(member_name=name, accepted=name in accepting))

    def check(self: Any) -> bool:
        answers = [call(self, {}, name).accepted for name in ("postgres-1", "postgres-2")]
        return all(answers)

    return bool(main.go_on_with_enough(check)(SimpleNamespace(dcs=store)))


def test_a_primary_goes_on_while_one_of_two_standbys_is_frozen(main: Any) -> None:
    """Seen in a drill: 26 s without writes, the API server away and a standby frozen."""
    assert goes_on(main, Store(), "postgres-1", "postgres-2")
    assert goes_on(main, Store(), "postgres-2")
    assert not goes_on(main, Store())


def test_a_key_that_may_be_another_one_by_now_counts_for_nothing(main: Any) -> None:
    store = Store()
    main.note_compared(lambda *_, **__: None)(store, PRIMARY, ["postgres-2"], 0, version="7")
    assert not goes_on(main, store, "postgres-1")
    store.found.metadata.resource_version = "8"
    assert goes_on(main, store, "postgres-1")
    assert not goes_on(main, Store(leader="postgres-2"), "postgres-1")


def asked(main: Any, answer: object) -> None:
    main.promise(lambda _self, _data: answer)(SimpleNamespace(dcs=Store()), {"name": PRIMARY})


def test_who_promised_takes_no_lock_and_tells_no_position_until_it_is_over(
    main: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = main.leave_promised_lock(lambda _: True)
    assert take(None)
    asked(main, 100)
    assert not take(None)
    assert "xlog" not in told(main, STATUS)
    # As after a restart of Patroni, on the same volume.
    main.PROMISE = main.Promise(tmp_path / "promise.json")
    assert main.PROMISE.given() == PRIMARY
    assert not take(None)
    now = main.time.monotonic()
    monkeypatch.setattr(main.time, "monotonic", lambda: now + 41)
    assert main.tidy_promise(lambda _: True)(None)
    assert list(tmp_path.iterdir()) == []
    assert take(None)
    assert told(main, STATUS)["xlog"] == STATUS["xlog"]


def test_a_primary_promises_nothing(main: Any) -> None:
    asked(main, "Running as a leader")
    assert main.PROMISE.given() == ""


def test_who_was_given_the_lock_is_bound_no_longer(main: Any) -> None:
    asked(main, 100)
    main.note_renewed(lambda _: True)(SimpleNamespace())
    assert main.PROMISE.given() == ""


def test_a_word_that_could_not_be_written_down_is_not_given(main: Any, tmp_path: Path) -> None:
    main.PROMISE = main.Promise(tmp_path / "gone" / "promise.json")
    with pytest.raises(OSError, match="gone"):
        asked(main, 100)


def test_patroni_still_answers_and_counts_as_the_mend_expects(main: Any) -> None:
    """Of the real handler: GET /patroni goes through what is mended, and its answer has a position by these names."""

    class Handler(api.RestApiHandler):  # type: ignore[misc]
        def __init__(self) -> None:
            availability = SimpleNamespace(get_effective_tags=dict, watchdog=SimpleNamespace(is_healthy=True))
            state = SimpleNamespace(
                ha=availability,
                postgresql=SimpleNamespace(sysid="", pending_restart_reason={}, scope="postgres", name="postgres-1"),
                logger=SimpleNamespace(queue_size=0, NORMAL_LOG_QUEUE_SIZE=2),
                version="4",
                scheduled_restart={},
            )
            self.server = SimpleNamespace(patroni=state)
            self.body = io.BytesIO()

        def get_postgresql_status(self, _retry: bool = False) -> dict[str, Any]:
            return dict(STATUS)

        def write_response(self, _code: int, body: str, **_: Any) -> None:
            self.body.write(body.encode())

    def answer() -> dict[str, Any]:
        handler = Handler()
        handler.do_GET_patroni()
        return dict(json.loads(handler.body.getvalue()))

    member = dcs.RemoteMember("postgres-1", {})
    assert ha._MemberStatus.from_api_response(member, answer()).wal_position == 100
    write: Callable[..., None] = main.tell_no_position(api.RestApiHandler._write_status_response)
    Handler._write_status_response = lambda self, code, response: write(self, code, response)
    main.PROMISE.give(PRIMARY, 40)
    with pytest.raises(KeyError):
        ha._MemberStatus.from_api_response(member, answer())
