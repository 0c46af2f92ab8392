from __future__ import annotations

import pytest

from okitoki_phones.rtp import PAYLOAD_BYTES, Pattern, Receiver, Sender, packet, read_packet, stream_name

MINE = Pattern(stream_name("call", "caller"))


def packets(count: int) -> list[bytes]:
    sender = Sender(MINE, 7, 65530, 4294967000)  # both counters wrap on the way
    return [sender.next(index * 0.02) for index in range(count)]


def received(arrivals: list[tuple[bytes, float]]) -> Receiver:
    receiver = Receiver(MINE)
    for data, at in arrivals:
        receiver.receive(data, at)
    return receiver


def test_every_payload_differs_and_names_its_stream() -> None:
    payloads = {MINE.payload(number) for number in range(10_000)}
    assert len(payloads) == 10_000
    assert {len(payload) for payload in payloads} == {PAYLOAD_BYTES}
    assert MINE.payload(5) != Pattern(stream_name("call", "callee")).payload(5)


def test_a_whole_stream_is_whole() -> None:
    receiver = received([(data, index * 0.02) for index, data in enumerate(packets(50))])
    facts = receiver.as_json()
    assert (facts["received"], facts["lost"], facts["duplicated"], facts["corrupted"]) == (50, 0, 0, 0)
    assert facts["longestMs"] == pytest.approx(20, abs=0.1)


def test_losses_duplicates_reordering_and_gaps_are_told_apart() -> None:
    stream = packets(12)
    order = [2, 3, 4, 4, 6, 5, 9, 11]
    receiver = received([(stream[number], index * 0.02) for index, number in enumerate(order)])
    assert receiver.lost() == [(0, 1), (7, 8), (10, 10)]
    assert (receiver.duplicated, receiver.reordered) == (1, 1)


def test_a_gap_is_placed_where_it_began_and_silence_at_both_ends_counts() -> None:
    receiver = Receiver(MINE)
    stream = packets(3)
    receiver.start(10.0)
    receiver.receive(stream[0], 10.5)
    receiver.receive(stream[1], 10.52)
    receiver.stop(11.52)
    assert receiver.gaps.longest is not None
    assert receiver.gaps.longest.milliseconds == pytest.approx(1000)
    assert receiver.gaps.longest.at == pytest.approx(10.52)
    assert receiver.gaps.total == 2


@pytest.mark.parametrize("place", [12, 16, 20, 171])
def test_one_flipped_bit_anywhere_in_the_payload_is_seen(place: int) -> None:
    data = bytearray(packets(1)[0])
    data[place] ^= 1
    receiver = received([(bytes(data), 0.0)])
    assert receiver.corrupted + receiver.foreign == 1
    assert not receiver.seen


def test_a_payload_under_another_sequence_number_is_seen() -> None:
    first = packet(MINE.payload(0), 100, 0, 7)
    wrong = packet(MINE.payload(1), 105, 160, 7)
    receiver = received([(first, 0.0), (wrong, 0.02)])
    assert (len(receiver.seen), receiver.corrupted) == (1, 1)


def test_header_extensions_csrc_and_padding_are_skipped() -> None:
    plain = packet(b"x" * 160, 1, 2, 3)
    fancy = bytes([0x80 | 0x20 | 0x10 | 1]) + plain[1:12] + b"csrc" + b"\0\0\0\1abcd" + b"x" * 160 + b"\0\0\3"
    assert read_packet(fancy) == (1, b"x" * 160)


@pytest.mark.parametrize("data", [b"", b"\x80\xc8" + b"\0" * 26, b"\x80\x00" + b"\0" * 170, b"\xb0\x08" + b"\xff" * 11])
def test_what_is_no_audio_is_not_taken_for_any(data: bytes) -> None:
    assert read_packet(data) is None
