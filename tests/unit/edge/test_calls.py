"""Which calls are out of step, and who is right."""

from __future__ import annotations

import json

import pytest

from okitoki_agents.edge.guard import calls
from okitoki_agents.edge.guard.calls import Known


def call(signalled: int, *endpoints: str) -> bytes:
    """A call as rtpengine writes it, as far as it matters."""
    streams = {f"stream-{n}": {"endpoint": endpoint} for n, endpoint in enumerate(endpoints)}
    return json.dumps({"json": {"last_signal": str(signalled)}, **streams, "tag-0": {"tag": "x"}}).encode()


OFFERED = call(100, "198.18.16.150:4000", "198.18.16.150:4001", ":0", ":0")
ANSWERED = call(100, "198.18.16.150:4000", "198.18.16.150:4001", "198.18.16.51:7000", "198.18.16.51:7001")


PORTS = ("198.18.16.150:4000", "198.18.16.150:4001", "198.18.16.51:7000", "198.18.16.51:7001")
MOVED = (*PORTS[:2], "198.18.16.52:7000", "198.18.16.52:7001")


@pytest.mark.parametrize("document", [None, b"", b"x", b"[]", b"{}", b'{"json": {"last_signal": "x"}}'])
def test_of_what_cannot_be_read_nothing_is_known(document: bytes | None) -> None:
    assert calls.known(document) == Known()
    assert calls.known(OFFERED).better_than(Known())


def test_an_answered_call_is_known_better_than_an_offered_one_even_if_that_was_claimed_later() -> None:
    assert len(calls.known(OFFERED).endpoints) == 2
    assert calls.known(ANSWERED).better_than(calls.known(OFFERED))
    assert not calls.known(call(105, *PORTS[:2], ":0", ":0")).better_than(calls.known(ANSWERED))


def test_a_claim_alone_is_no_knowledge_but_a_new_place_of_a_phone_is() -> None:
    assert not calls.known(call(105, *PORTS)).better_than(calls.known(ANSWERED))
    assert calls.known(call(105, *MOVED)).better_than(calls.known(ANSWERED))
    assert not calls.known(call(95, *MOVED)).better_than(calls.known(ANSWERED))


def test_what_the_peer_heard_during_a_flap_is_better_known_there() -> None:
    here = {"answered-there": OFFERED, "same": ANSWERED, "answered-here": ANSWERED}
    there = {"answered-there": ANSWERED, "same": ANSWERED, "answered-here": OFFERED, "begun-there": OFFERED}
    engine = {*here, "begun-there"}
    assert calls.better_there(engine, here, there, since=99) == ["answered-there", "begun-there"]


def test_an_ended_call_is_not_brought_back_and_an_old_one_left_alone() -> None:
    there = {"ended-here": call(100, *PORTS), "long-ago": call(50, *PORTS)}
    assert calls.better_there({"long-ago"}, {}, there, since=99) == []


def test_of_calls_that_were_not_met_only_those_signalled_lately_can_have_been_missed() -> None:
    there = {"met": OFFERED, "ringing": OFFERED, "talking": ANSWERED, "long-ago": call(50, *PORTS), "unreadable": b"x"}
    assert calls.unheard({"met"}, there, since=99) == ["ringing", "talking"]


@pytest.mark.parametrize(
    ("held", "peer_says", "released", "because"),
    [
        (False, True, True, "the peer says that it has the address"),
        (False, False, False, "the peer does not say that it has the address"),
        (False, None, False, "the peer's Redis does not answer"),
        (True, True, False, "the address is here"),
    ],
)
def test_calls_give_way_only_to_a_peer_that_says_it_has_the_address(
    held: bool, peer_says: bool | None, released: bool, because: str
) -> None:
    assert calls.released(held, peer_says) == (released, because)


def test_a_call_counts_as_ended_at_the_second_look_only() -> None:
    first = calls.tidying({"a", "b", "new"}, {"a", "c"}, frozenset())
    assert first == calls.Tidying(lacking=("c",), ended=(), doubted=frozenset({"b", "new"}))
    second = calls.tidying({"a", "b", "new"}, {"a", "new"}, first.doubted)
    assert second == calls.Tidying(lacking=(), ended=("b",), doubted=frozenset())


def entry(ssrc: str, **indexes: str) -> dict[str, str]:
    given = {"in_srtp_index": "0", "in_srtcp_index": "0", "out_srtp_index": "0", "out_srtcp_index": "0"}
    return {"ssrc": ssrc, **given, **indexes, "in_payload_type": "8"}


def test_a_standby_is_told_the_greatest_index_of_each_source_once_for_all_streams() -> None:
    """As rtpengine 12.5.1 writes a call of one encrypted side; a standby ignored both tables."""
    document = {
        "stream-0": {"-master_key": "x"},
        "ssrc_table-0": [entry("7", in_srtp_index="14570")],
        "ssrc_table-1": [entry("7", out_srtp_index="145642"), entry("9", in_srtp_index="99999")],
    }
    amended = calls.with_indexes(json.dumps(document, separators=(",", ":")).encode())
    assert amended is not None
    assert json.loads(amended) == document | {
        "ssrc_table": [entry("7", in_srtp_index="14570", out_srtp_index="145642"), entry("9", in_srtp_index="99999")]
    }


def test_nothing_is_added_to_a_call_that_is_plain_or_has_no_packets_yet() -> None:
    table = {"ssrc_table-0": [entry("7")]}
    assert calls.with_indexes(json.dumps(table).encode()) is None
    assert calls.with_indexes(b'{"stream-0":{"-master_key":"x"},"ssrc_table-0":[]}') is None
    assert not calls.encrypted({"one": ANSWERED})
    assert calls.encrypted({"one": ANSWERED, "two": b'{"stream-0":{"-master_key":"x"}}'})
