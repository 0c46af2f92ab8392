"""Transactions: retransmission, matching, timers (RFC 3261 section 17, RFC 6026 for 2xx to INVITE).

An `Endpoint` is one UDP socket of one phone or trunk; `okitoki_phones.tls` has the one for TLS. What the transactions
cannot decide (whether to answer, what a 2xx means) goes to the endpoint's user by callback.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from okitoki_phones.sip import NameAddress, Request, Response, SipError, Uri, Via, parse, response_to

Address = tuple[str, int]
COOKIE = "z9hG4bK"


@dataclass(frozen=True)
class Timers:
    """RFC 3261's base timers in seconds (section 17.1.1.1 and the table in appendix A)."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0

    @property
    def give_up(self) -> float:
        """Timers B, F, H, J, L and M: 64 x T1, 32 s by default."""
        return 64 * self.t1


class TransactionTimeout(Exception):
    """No final response within 64 x T1 (timers B and F)."""


class ClientTransaction:
    """One request sent until its final response came."""

    def __init__(self, endpoint: Endpoint, request: Request, destination: Address) -> None:
        self.endpoint = endpoint
        self.request = request
        self.destination = destination
        self.invite = request.method == "INVITE"
        self.final: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.on_provisional: Callable[[Response], None] | None = None
        self.on_further_success: Callable[[Response], None] | None = None
        self.retransmissions = 0
        self.proceeding = False
        self._interval = endpoint.timers.t1
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def key(self) -> tuple[str, str]:
        return self.request.via.branch, self.request.method

    def start(self) -> None:
        self.endpoint.clients[self.key] = self
        self.endpoint.send(self.request, self.destination)
        if not self.endpoint.reliable:
            self._later(self._interval, self._retransmit)
        self._later(self.endpoint.timers.give_up, self._time_out)

    def send_again(self) -> None:
        """Over a new connection: the one before broke, and nobody knows what it carried."""
        if not self.final.done():
            self.retransmissions += 1
            self.endpoint.send(self.request, self.destination)

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(delay, action))

    def _stop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _retransmit(self) -> None:
        """Timers A and E: doubled each time; only those of other methods than INVITE are capped at T2."""
        self.retransmissions += 1
        self.endpoint.send(self.request, self.destination)
        doubled = self._interval * 2
        self._interval = doubled if self.invite else min(doubled, self.endpoint.timers.t2)
        self._later(self.endpoint.timers.t2 if self.proceeding else self._interval, self._retransmit)

    def _time_out(self) -> None:
        self._forget()
        if not self.final.done():
            self.final.set_exception(TransactionTimeout(f"no answer to {self.request.method}"))

    def _forget(self) -> None:
        self._stop()
        self.endpoint.clients.pop(self.key, None)

    def receive(self, response: Response) -> None:
        if response.status < 200:
            if self.final.done():
                return
            self.proceeding = True
            if self.invite:
                # From here on only the transaction's user decides how long it may ring.
                self._stop()
            if self.on_provisional:
                self.on_provisional(response)
            return
        if self.invite and response.status >= 300:
            self._acknowledge_refusal(response)
        if self.final.done():
            if self.invite and response.status < 300 and self.on_further_success:
                self.on_further_success(response)
            return
        self._stop()
        self.final.set_result(response)
        # Kept a while to absorb retransmissions: timers D and M for INVITE, K for the others.
        self._later(self.endpoint.timers.give_up if self.invite else self.endpoint.timers.t4, self._forget)

    def _acknowledge_refusal(self, response: Response) -> None:
        """The hop's own ACK to a final response that is not 2xx (section 17.1.1.3)."""
        ack = Request(method="ACK", uri=self.request.uri)
        ack.add("Via", self.request.all("Via")[0])
        for route in self.request.all("Route"):
            ack.add("Route", route)
        ack.add("Max-Forwards", 70)
        ack.add("From", self.request.need("From"))
        ack.add("To", response.need("To"))
        ack.add("Call-ID", self.request.call_id)
        ack.add("CSeq", f"{self.request.cseq[0]} ACK")
        self.endpoint.send(ack, self.destination)

    def cancel(self) -> ClientTransaction:
        """Send CANCEL for this INVITE (section 9.1); its own final response, 487, still comes by `final`."""
        request = Request(method="CANCEL", uri=self.request.uri)
        request.add("Via", self.request.all("Via")[0])
        for route in self.request.all("Route"):
            request.add("Route", route)
        request.add("Max-Forwards", 70)
        for name in ("From", "To", "Call-ID"):
            request.add(name, self.request.need(name))
        request.add("CSeq", f"{self.request.cseq[0]} CANCEL")
        self._later(self.endpoint.timers.give_up, self._time_out)
        return self.endpoint.start_client(request, self.destination, own_via=False)


class ServerTransaction:
    """One request received until its final response is certain to have arrived."""

    def __init__(self, endpoint: Endpoint, request: Request) -> None:
        self.endpoint = endpoint
        self.request = request
        self.invite = request.method == "INVITE"
        self.response: Response | None = None
        self.retransmissions = 0
        self.acknowledged = asyncio.Event()
        self.on_no_acknowledgement: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0

    @property
    def key(self) -> tuple[str, str, str]:
        return server_key(self.request)

    def respond(self, response: Response) -> None:
        """Send a response; a final one to INVITE again and again until the ACK (timer G, section 13.3.1.4)."""
        self.response = response
        self.endpoint.send(response, self.request.via.return_address())
        if response.status < 200:
            return
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + self.endpoint.timers.give_up
        if self.invite:
            self._again(self.endpoint.timers.t1)
        loop.call_later(self.endpoint.timers.give_up, self._forget)

    def _again(self, interval: float) -> None:
        def fire() -> None:
            if self.acknowledged.is_set() or self.response is None:
                return
            if asyncio.get_running_loop().time() >= self._deadline:
                if self.on_no_acknowledgement:
                    self.on_no_acknowledgement()
                return
            self.retransmissions += 1
            self.endpoint.send(self.response, self.request.via.return_address())
            self._again(min(interval * 2, self.endpoint.timers.t2))

        self._timer = asyncio.get_running_loop().call_later(interval, fire)

    def receive_again(self) -> None:
        """The request came once more: so did its response get lost."""
        if self.response is not None:
            self.endpoint.send(self.response, self.request.via.return_address())

    def confirm(self) -> None:
        """The ACK came."""
        self.acknowledged.set()
        if self._timer:
            self._timer.cancel()

    def _forget(self) -> None:
        self.endpoint.servers.pop(self.key, None)


def server_key(request: Request) -> tuple[str, str, str]:
    """Section 17.2.3: branch, sent-by and method; ACK belongs to the INVITE."""
    via = request.via
    method = "INVITE" if request.method == "ACK" else request.method
    return via.branch, f"{via.host}:{via.port or 5060}", method


@dataclass
class Handlers:
    """What an endpoint hands on: new requests, ACKs to 2xx, and 2xx that no transaction waits for any more."""

    request: Callable[[ServerTransaction], None]
    acknowledgement: Callable[[Request], None] = lambda _: None
    success: Callable[[Response], None] = lambda _: None


@dataclass
class Counters:
    """What an endpoint could not use, for the report."""

    unreadable: int = 0
    stray_responses: int = 0
    send_errors: int = 0
    last_unreadable: str | None = field(default=None)


class Endpoint(asyncio.DatagramProtocol):
    """One UDP socket with its transactions."""

    transport_name = "UDP"
    contact_parameters: Mapping[str, str | None] = {}
    reliable = False
    """Whether what is sent arrives or the connection breaks, so that requests are not sent again by timers."""

    def __init__(self, handlers: Handlers, timers: Timers | None = None) -> None:
        self.handlers = handlers
        self.timers = timers or Timers()
        self.clients: dict[tuple[str, str], ClientTransaction] = {}
        self.servers: dict[tuple[str, str, str], ServerTransaction] = {}
        self.counters = Counters()
        self._transport: asyncio.DatagramTransport | None = None
        self.address: Address = ("", 0)
        self.connections: list[tuple[float, float | None]] = []
        """When each connection began and broke (seconds since the epoch), where there are connections."""

    async def bind(self, address: Address) -> None:
        """Open the socket; port 0 takes any."""
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, local_addr=address, family=socket.AF_INET
        )
        self._transport = transport
        name = transport.get_extra_info("sockname")
        self.address = (name[0], name[1])

    def close(self) -> None:
        if self._transport:
            self._transport.close()

    def error_received(self, exc: Exception) -> None:
        # ICMP unreachable: retransmission is the cure, so it is counted and nothing else.
        self.counters.send_errors += 1

    def send(self, message: Request | Response, destination: Address) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        with contextlib.suppress(OSError):
            self._transport.sendto(bytes(message), destination)

    def own_via(self) -> Via:
        host, port = self.address
        return Via(host, port, {"branch": COOKIE + secrets.token_hex(10), "rport": None}, self.transport_name)

    def contact(self, user: str | None) -> NameAddress:
        """Where this endpoint is to be asked for `user`."""
        host, port = self.address
        return NameAddress(Uri(host, user, port, dict(self.contact_parameters)))

    def start_client(self, request: Request, destination: Address, *, own_via: bool = True) -> ClientTransaction:
        """Send a request as a transaction; the result is its `final` future."""
        if own_via:
            request.headers.insert(0, ("Via", str(self.own_via())))
        transaction = ClientTransaction(self, request, destination)
        transaction.start()
        return transaction

    def send_ack(self, ack: Request, destination: Address) -> None:
        """The ACK to a 2xx is no transaction: sent as it is, again for each 2xx that arrives."""
        if not ack.all("Via"):
            ack.headers.insert(0, ("Via", str(self.own_via())))
        self.send(ack, destination)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if not data.strip(b"\r\n\0 "):
            return  # a keep-alive (RFC 5626 section 3.5.1)
        self._receive(data, (addr[0], addr[1]))

    def _receive(self, data: bytes, source: Address) -> None:
        """One whole message."""
        try:
            message = parse(data)
            if isinstance(message, Response):
                self._receive_response(message)
            else:
                self._receive_request(message, source)
        except SipError as error:
            self.counters.unreadable += 1
            self.counters.last_unreadable = str(error)

    def _receive_response(self, response: Response) -> None:
        client = self.clients.get((response.via.branch, response.cseq[1]))
        if client is not None:
            client.receive(response)
        elif response.cseq[1] == "INVITE" and 200 <= response.status < 300:
            self.handlers.success(response)
        else:
            self.counters.stray_responses += 1

    def _receive_request(self, request: Request, source: Address) -> None:
        vias = request.all("Via")
        request.set("Via", str(request.via.answered_from(source)), *vias[1:])
        known = self.servers.get(server_key(request))
        if request.method == "ACK":
            if known is not None:
                known.confirm()
            self.handlers.acknowledgement(request)
        elif known is not None:
            known.receive_again()
        else:
            transaction = ServerTransaction(self, request)
            self.servers[transaction.key] = transaction
            try:
                self.handlers.request(transaction)
            except SipError:
                transaction.respond(response_to(request, 400))
                raise
