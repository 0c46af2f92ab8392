"""Leases on addresses, against a netlink socket that remembers what it was sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from okitoki_agents.edge import rtnetlink
from okitoki_agents.edge.guard import leases
from okitoki_agents.edge.guard.leases import SECONDS, Leases
from okitoki_agents.edge.rtnetlink import INFINITY, AddressEvent

IP = "198.18.16.200"


class Sent:
    """Stands in for the netlink socket."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def send(self, message: bytes) -> None:
        self.messages.append(message)

    def take(self) -> list[bytes]:
        taken, self.messages = self.messages, []
        return taken


class Case:
    def __init__(self) -> None:
        self.changes: list[tuple[str, bool]] = []
        self.leases = Leases({IP: "sip"}, lambda name, held: self.changes.append((name, held)))
        self.real = self.leases._socket
        self.sent = Sent()
        self.leases._socket = self.sent  # type: ignore[assignment]
        self.own = self.leases._port

    def see(self, present: bool, valid: int = INFINITY, by: int = 0, dumped: bool = False) -> None:
        self.leases._see("sip", AddressEvent(present, IP, 32, 2, valid, by, dumped))


@pytest.fixture
def case() -> Iterator[Case]:
    made = Case()
    yield made
    made.real.close()


def lease() -> bytes:
    return rtnetlink.lease(IP, 32, 2, SECONDS)


def test_an_address_that_keepalived_adds_gets_a_lease_at_once(case: Case) -> None:
    case.see(True, by=77)
    assert case.sent.take() == [lease()]
    assert case.changes == [("sip", True)]


def test_the_echo_of_a_lease_changes_nothing(case: Case) -> None:
    case.see(True)
    case.sent.take()
    case.see(True, SECONDS, case.own)
    assert case.sent.take() == []
    assert case.changes == [("sip", True)]


def test_an_address_made_endless_again_gets_its_lease_again(case: Case) -> None:
    case.see(True)
    case.sent.take()
    case.see(True, INFINITY, by=77)
    assert case.sent.take() == [lease()]


def test_a_renewal_that_crossed_a_removal_is_undone(case: Case) -> None:
    case.see(True)
    case.leases.renew()
    case.sent.take()
    case.see(False)
    case.see(True, SECONDS, case.own)
    assert case.sent.take() == [rtnetlink.delete(IP, 32, 2)]
    assert case.changes == [("sip", True), ("sip", False)]
    case.leases.renew()
    assert case.sent.take() == []


def test_an_address_with_a_lease_is_adopted_when_the_guard_restarts(case: Case) -> None:
    case.see(True, 2, by=0, dumped=True)
    assert case.sent.take() == [lease()]
    assert case.changes == [("sip", True)]


def test_a_dump_shows_what_went_unseen(case: Case) -> None:
    case.see(True)
    case.leases._end_of_dump()
    assert case.changes == [("sip", True), ("sip", False)]


def test_dropping_deletes_all(case: Case) -> None:
    case.see(True)
    case.sent.take()
    case.leases.drop_all("a test")
    assert case.sent.take() == [rtnetlink.delete(IP, 32, 2)]


def test_renewals_come_often_enough() -> None:
    assert leases.RENEW_EVERY * 3 < SECONDS
