"""A SIP server for the phones to meet on loopback: registrar with digest, record-routing proxy, RTP relay.

It can lose what a test tells it to lose.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from okitoki_phones import sdp
from okitoki_phones.digest import md5
from okitoki_phones.sip import NameAddress, Request, Response, Uri, Via, parse, response_to

Address = tuple[str, int]
NONCE = "a-nonce"


class Relay(asyncio.DatagramProtocol):
    """A UDP port in front of one party: what comes in goes out at the twin, to the other party."""

    def __init__(self, passes: Callable[[bytes], bytes | None]) -> None:
        self.passes = passes
        self.twin: Relay | None = None
        self.party: Address | None = None
        self.transport: Any = None
        self.count = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    @property
    def port(self) -> int:
        return int(self.transport.get_extra_info("sockname")[1])

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.count += 1
        passed = self.passes(data)
        if passed is not None and self.twin is not None and self.twin.party is not None:
            self.twin.transport.sendto(passed, self.twin.party)


class Server(asyncio.DatagramProtocol):
    """The server. `loses` decides per SIP message; `to_agent` and `to_caller` filter RTP packets."""

    def __init__(self, secrets_of: dict[str, str]) -> None:
        self.secrets_of = secrets_of
        self.contacts: dict[str, Uri] = {}
        self.queue: list[str] = list(secrets_of)
        self.loses: Callable[[Request | Response], bool] = lambda _: False
        self.to_agent: Callable[[bytes], bytes | None] = lambda data: data
        self.to_caller: Callable[[bytes], bytes | None] = lambda data: data
        self.relays: dict[str, tuple[Relay, Relay]] = {}
        self.seen: list[str] = []
        self.transport: Any = None

    async def start(self) -> Address:
        self.transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        name = self.transport.get_extra_info("sockname")
        self.address: Address = (name[0], name[1])
        return self.address

    def close(self) -> None:
        self.transport.close()
        for pair in self.relays.values():
            for relay in pair:
                relay.transport.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        message = parse(data)
        self.seen.append(message.start_line())
        if not self.loses(message):
            task = asyncio.ensure_future(self._handle(message, addr))
            task.add_done_callback(lambda done: done.result())

    async def _handle(self, message: Request | Response, source: Address) -> None:
        if isinstance(message, Response):
            await self._pass_back(message)
        elif message.method == "REGISTER":
            self._register(message, source)
        else:
            await self._forward(message, source)

    def _register(self, request: Request, source: Address) -> None:
        user = request.to.uri.user or ""
        header = request.get("Authorization")
        if header is None or not self._authentic(header, user):
            answer = response_to(request, 401, tag="t")
            answer.add("WWW-Authenticate", f'Digest realm="acme", nonce="{NONCE}", qop="auth"')
        else:
            contact = request.contact
            assert contact is not None
            self.contacts[user] = contact.uri
            answer = response_to(request, 200, tag="t")
            answer.add("Contact", f"<{contact.uri}>;expires={request.need('Expires')}")
        self.transport.sendto(bytes(answer), source)

    def _authentic(self, header: str, user: str) -> bool:
        fields = {}
        for part in header.removeprefix("Digest ").split(","):
            name, _, value = part.strip().partition("=")
            fields[name] = value.strip('"')
        ha1 = md5(f"{user}:acme:{self.secrets_of.get(user, '')}")
        ha2 = md5(f"REGISTER:{fields['uri']}")
        wanted = md5(f"{ha1}:{NONCE}:{fields['nc']}:{fields['cnonce']}:auth:{ha2}")
        return user in self.secrets_of and fields["response"] == wanted and fields["nonce"] == NONCE

    async def _forward(self, request: Request, source: Address) -> None:
        vias = request.all("Via")
        request.set("Via", str(Via.parse(vias[0]).answered_from(source)), *vias[1:])
        routes = [NameAddress.parse(route) for route in request.all("Route")]
        if routes:
            assert routes[0].uri.parameters.get("mv") == "1", "the route set was not followed"
            request.set("Route", *(str(route) for route in routes[1:]))
            target = Uri.parse(request.uri)
        elif request.to.tag is None and request.method in {"INVITE", "CANCEL"}:
            if not self.queue or self.queue[0] not in self.contacts:
                self.transport.sendto(bytes(response_to(request, 480, tag="t")), source)
                return
            target = self.contacts[self.queue[0]]
            request.uri = str(target)
        else:
            self.transport.sendto(bytes(response_to(request, 404, tag="t")), source)
            return
        if request.method == "INVITE":
            host, port = self.address
            request.headers.insert(0, ("Record-Route", f"<sip:{host}:{port};lr;mv=1>"))
            request.body = await self._through_relay(request.call_id, request.body, caller=True)
        branch = Via.parse(vias[0]).branch + "-proxy" if request.method != "ACK" else "z9hG4bK" + secrets.token_hex(4)
        request.headers.insert(0, ("Via", f"SIP/2.0/UDP {self.address[0]}:{self.address[1]};branch={branch}"))
        self.transport.sendto(bytes(request), (target.host, target.port or 5060))

    async def _pass_back(self, response: Response) -> None:
        vias = response.all("Via")
        response.set("Via", *vias[1:])
        if response.body and response.cseq[1] == "INVITE":
            response.body = await self._through_relay(response.call_id, response.body, caller=False)
        if len(vias) > 1:
            self.transport.sendto(bytes(response), Via.parse(vias[1]).return_address())

    async def _through_relay(self, call_id: str, body: bytes, *, caller: bool) -> bytes:
        if call_id not in self.relays:
            loop = asyncio.get_running_loop()
            pair = (Relay(lambda data: self.to_agent(data)), Relay(lambda data: self.to_caller(data)))
            for relay in pair:
                await loop.create_datagram_endpoint(lambda relay=relay: relay, local_addr=("127.0.0.1", 0))
            pair[0].twin, pair[1].twin = pair[1], pair[0]
            # A busy machine's retransmission may have been here meanwhile; its relays are the call's then.
            if self.relays.setdefault(call_id, pair) is not pair:
                for relay in pair:
                    relay.transport.close()
        before_caller, before_agent = self.relays[call_id]
        party = sdp.parse(body)
        own, other = (before_caller, before_agent) if caller else (before_agent, before_caller)
        own.party = (party.host, party.port)
        return sdp.write(sdp.Description("127.0.0.1", other.port, party.direction), other.port)
