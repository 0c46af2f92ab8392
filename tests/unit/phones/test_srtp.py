"""Encrypted audio: what one side's key made the other reads, also after the sequence number began anew."""

from __future__ import annotations

from okitoki_phones.rtp import Pattern, Receiver, Sender
from okitoki_phones.sdp import Crypto
from okitoki_phones.srtp import Cipher


def ciphers() -> tuple[Cipher, Cipher]:
    one, other = Crypto.new(), Crypto.new()
    return Cipher(one, other), Cipher(other, one)


def test_only_the_holder_of_the_key_reads_it_and_only_once() -> None:
    caller, callee = ciphers()
    stranger = Cipher(Crypto.new(), Crypto.new())
    packet = Sender(Pattern("x"), 7, 100, 0).next(0.0)
    encrypted = caller.encrypt(packet)
    assert packet[12:] not in encrypted
    assert stranger.decrypt(encrypted) is None
    assert callee.decrypt(encrypted) == packet
    assert callee.decrypt(encrypted) is None
    assert (callee.refused, stranger.refused) == (1, 1)


def test_a_call_that_rolled_over_twice_loses_nothing_and_a_receiver_that_does_not_know_it_reads_nothing() -> None:
    own, theirs = Crypto.new(), Crypto.new()
    caller, callee = Cipher(own, theirs), Cipher(theirs, own)
    sender, receiver = Sender(Pattern("x"), 7, 1000, 0, rolled_over=2), Receiver(Pattern("x"))
    for number in range(50):
        receiver.receive(callee.decrypt(caller.encrypt(sender.next(number / 50))) or b"", number / 50)
    assert (len(receiver.seen), receiver.corrupted, receiver.lost()) == (50, 0, [])
    assert Cipher(theirs, own).decrypt(caller.encrypt(sender.next(1.0))) is None
