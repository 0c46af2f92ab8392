"""What the node hears: the guard's counter, and the gateway's answer through the kernel's neighbour table."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from okitoki_agents.edge import network, rtnetlink
from okitoki_agents.edge.guard.deafness import SILENT
from okitoki_agents.edge.guard.ears import Ears

GATEWAY = "198.18.240.1"


class Kernel:
    """Stands in for the netlink socket; `answers`: the gateway answers to ARP."""

    def __init__(self) -> None:
        self.answers, self.probes = True, 0
        self._reachable = False
        self._said: list[bytes] = []

    def send(self, message: bytes) -> None:
        kind = struct.unpack_from("=4xH", message)[0]
        if kind == 28:
            self.probes += 1
            self._reachable = self.answers
        elif kind == 30:
            body = struct.pack("=BBHiHBB", socket.AF_INET, 0, 0, 1, 0x02 if self._reachable else 0x10, 0, 1)
            body += struct.pack("=HH", 8, 1) + socket.inet_aton(GATEWAY)
            self._said.append(struct.pack("=IHHII", 16 + len(body), 28, 0, 0, 1) + body)

    def recv(self, _: int) -> bytes:
        if not self._said:
            raise BlockingIOError
        return self._said.pop(0)


class Case:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packets, self.peer = 0, True
        self.gateway: str | None = GATEWAY
        monkeypatch.setattr(network, "gateway", lambda _: self.gateway)
        self.ears = Ears("lo", lambda: self.packets, lambda: self.peer)
        self.real = self.ears._netlink
        self.kernel = Kernel()
        self.ears._netlink = self.kernel  # type: ignore[assignment]

    def looks(self, times: int, packets: int = 0) -> str:
        action = ""
        for _ in range(times):
            self.packets += packets
            action = self.ears.look().action
        return action


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    made = Case(monkeypatch)
    yield made
    made.real.close()
    made.ears._datagrams.close()


def test_a_quiet_network_with_a_gateway_that_answers_is_no_deafness(case: Case) -> None:
    assert case.looks(20, packets=3) == "keep"
    asked = case.kernel.probes
    assert asked <= 2, "while others speak nobody is asked"
    assert case.looks(10 * SILENT) == "keep"
    assert case.kernel.probes > asked


def test_a_gateway_that_answers_no_more_and_no_packet_are_deafness_until_both_are_back(case: Case) -> None:
    case.looks(20, packets=3)
    case.kernel.answers = False
    assert case.looks(SILENT - 1) == "keep"
    assert case.looks(1) == "withdraw"
    assert case.looks(100) == "withdraw"
    case.kernel.answers = True
    assert case.looks(10) == "withdraw"
    assert case.looks(20, packets=1) == "keep"


def test_without_a_gateway_nobody_is_asked_and_nothing_is_given_up(case: Case) -> None:
    case.gateway = None
    case.looks(5, packets=1)
    assert case.looks(100) == "keep"
    assert case.kernel.probes == 0


def test_a_neighbour_is_asked_in_the_kernels_words() -> None:
    kind, flags = struct.unpack_from("=4xHH", rtnetlink.probe_neighbour(GATEWAY, 1))
    assert (kind, flags) == (28, 0x101), "RTM_NEWNEIGH, NLM_F_REQUEST and NLM_F_REPLACE"
