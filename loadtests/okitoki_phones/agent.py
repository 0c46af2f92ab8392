"""An agent's SIP phone: registered, rings, answers, talks, says 486 while it is busy."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

from okitoki_phones import callee, sdp
from okitoki_phones.call import Leg
from okitoki_phones.callee import ALLOWED
from okitoki_phones.config import AgentConfig, AgentsConfig
from okitoki_phones.dialog import Dialog, key_of_request, new_tag
from okitoki_phones.records import LegRecord
from okitoki_phones.registration import Registration
from okitoki_phones.sip import Request, Uri, response_to
from okitoki_phones.tls import TlsEndpoint
from okitoki_phones.transaction import Endpoint, Handlers, ServerTransaction, Timers

SERVED_WITHOUT_CALL = {"OPTIONS"}


class Agent:
    """One phone with one line."""

    def __init__(
        self,
        config: AgentConfig,
        shared: AgentsConfig,
        write: Callable[[LegRecord], None],
        timers: Timers | None = None,
    ) -> None:
        self.config = config
        self.shared = shared
        self.leg: Leg | None = None
        self.endpoint = self._endpoint(Handlers(self._receive, self._receive_ack), timers)
        self.registration = Registration(
            self.endpoint, shared.server, Uri(config.domain, config.username), config.secret, shared.expires
        )
        self._write = write
        self._random = random.Random(f"{shared.seed}/{config.username}@{config.domain}")
        self._ringing: dict[tuple[str, str | None, int], tuple[ServerTransaction, asyncio.Event]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def _endpoint(self, handlers: Handlers, timers: Timers | None) -> Endpoint:
        if self.shared.tls is None:
            return Endpoint(handlers, timers)
        return TlsEndpoint(handlers, self.shared.server, self.shared.tls, self._connected, timers)

    def _connected(self) -> None:
        """The connection is a new one: the server must learn of it."""
        self.registration.renew()

    async def start(self) -> None:
        await self.endpoint.bind((self.shared.host, self.config.port))
        self._spawn(self.registration.run())

    async def stop(self) -> None:
        """Hang up, give up the registration, close."""
        for _, cancelled in list(self._ringing.values()):
            cancelled.set()
        if self.leg is not None:
            leg = self.leg
            await leg.hang_up()
            await leg.closed.wait()
            self._ended(leg)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.registration.registered.is_set():
            await self.registration.remove()
        self.endpoint.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _receive(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        if request.method == "CANCEL":
            self._receive_cancel(transaction)
        elif request.to.tag is not None:
            self._receive_in_dialog(transaction)
        elif request.method == "INVITE":
            self._receive_invite(transaction)
        elif request.method in SERVED_WITHOUT_CALL:
            answer = response_to(request, 200, tag=new_tag())
            answer.add("Allow", ALLOWED)
            transaction.respond(answer)
        else:
            answer = response_to(request, 405, tag=new_tag())
            answer.add("Allow", ALLOWED)
            transaction.respond(answer)

    def _leg_of(self, request: Request) -> Leg | None:
        leg = self.leg
        return leg if leg is not None and leg.dialog.key == key_of_request(request) else None

    def _receive_in_dialog(self, transaction: ServerTransaction) -> None:
        leg = self._leg_of(transaction.request)
        if leg is None:
            transaction.respond(response_to(transaction.request, 481))
        else:
            leg.receive(transaction)

    def _receive_ack(self, ack: Request) -> None:
        leg = self._leg_of(ack)
        if leg is None:
            return
        for transaction in self.endpoint.servers.values():
            same = transaction.invite and transaction.request.call_id == ack.call_id
            if same and transaction.request.cseq[0] == ack.cseq[0]:
                transaction.confirm()

    def _receive_cancel(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        ringing = self._ringing.get((request.call_id, request.from_.tag, request.cseq[0]))
        known = ringing is not None and ringing[0].request.via.branch == request.via.branch
        transaction.respond(response_to(request, 200 if known else 481, tag=new_tag()))
        if known and ringing is not None:
            ringing[1].set()

    def _receive_invite(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        key = (request.call_id, request.from_.tag, request.cseq[0])
        if key in self._ringing:
            # The same call by another path (RFC 3261 section 8.2.2.2): the first one goes on.
            transaction.respond(response_to(request, 482, tag=new_tag()))
        elif self.leg is not None or self._ringing:
            transaction.respond(response_to(request, 486, tag=new_tag()))
        else:
            cancelled = asyncio.Event()
            self._ringing[key] = (transaction, cancelled)
            self._spawn(self._ring(transaction, cancelled, key))

    async def _ring(
        self, transaction: ServerTransaction, cancelled: asyncio.Event, key: tuple[str, str | None, int]
    ) -> None:
        request, tag = transaction.request, new_tag()
        record = LegRecord(
            "agent", request.call_id, request.from_.uri.user or "", request.to.uri.user or "", self.config.tenant,
            self.config.username, attempted_at=time.time(), callee_tag=tag,
        )  # fmt: skip
        try:
            offer = sdp.parse(request.body)
            if offer.crypto is not None and not self.shared.srtp:
                raise sdp.SdpError("this phone knows no SRTP")
            dialog = Dialog.of_callee(request, tag, self.endpoint.contact(self.config.username))
            seconds = self._random.uniform(*self.shared.ring_seconds)
            if await callee.ring(transaction, dialog, record, cancelled, seconds):
                self.leg = callee.answer(self.endpoint, transaction, record, offer, dialog, self.shared.rolled_over)
                self._spawn(self._talk(transaction, self.leg, offer))
            else:
                self._refuse(transaction, record, 487, tag)
        except sdp.SdpError as error:
            record.notes.append(str(error))
            self._refuse(transaction, record, 488, tag)
        finally:
            self._ringing.pop(key, None)

    def _refuse(self, transaction: ServerTransaction, record: LegRecord, status: int, tag: str) -> None:
        callee.refuse(transaction, record, status, tag)
        self._write(record)

    async def _talk(self, transaction: ServerTransaction, leg: Leg, offer: sdp.Description) -> None:
        await callee.talk(transaction, leg, offer)
        self._ended(leg)

    def _ended(self, leg: Leg) -> None:
        if self.leg is leg:
            self.leg = None
            self._write(leg.record)
