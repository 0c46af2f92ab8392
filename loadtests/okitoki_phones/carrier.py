"""A telephone carrier's trunk: sends calls for the platform's numbers, talks, and keeps a record of each."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from okitoki_phones import sdp
from okitoki_phones.call import Leg
from okitoki_phones.callee import HANG_UP_AFTER
from okitoki_phones.config import CarrierConfig, ShortCalls
from okitoki_phones.dialog import Dialog, key_of_request, new_call_id, new_tag
from okitoki_phones.landline import Landlines
from okitoki_phones.media import MediaSession
from okitoki_phones.records import LegRecord
from okitoki_phones.sip import NameAddress, Request, Response, SipError, Uri, response_to
from okitoki_phones.transaction import (
    Address,
    ClientTransaction,
    Endpoint,
    Handlers,
    ServerTransaction,
    Timers,
    TransactionTimeout,
)

# How much longer than agreed the carrier waits for the agent to hang up before it does so itself.
PATIENCE_SECONDS = 5.0
SILENCE = "no answer from the server"


@dataclass(frozen=True)
class Plan:
    """One call to be made: `talk` None means until the end; `callee_ends` means that the agent hangs up.

    `reference` is whoever asked for the call's own name of it; it is in the call's record and goes nowhere else.
    """

    kind: str
    number: str
    tenant: str
    talk: float | None = None
    callee_ends: bool = False
    reference: str | None = None


def forward_reason(record: LegRecord, reached: bool) -> str | None:
    """Why a carrier forwards a call that was not answered: `busy`, `no answer`, `unreachable`; None: it does not.

    As ordered conditional forwarding goes by the answer to INVITE (RFC 3261 section 21); `reached`: anything was said.
    """
    if not reached:
        return "unreachable"
    if record.code in (486, 600):
        return "busy"
    if record.code in (408, 480, 487):
        return "no answer"
    return "unreachable" if record.code is not None and 500 <= record.code < 600 else None


def short_plans(stream: ShortCalls, generator: random.Random) -> Iterator[Plan]:
    """An endless series; every other call is ended by the agent."""
    callee_ends = False
    while True:
        yield Plan("short", stream.number, stream.tenant, generator.uniform(*stream.talk), callee_ends)
        callee_ends = not callee_ends


class Carrier:
    """One trunk."""

    def __init__(self, config: CarrierConfig, write: Callable[[LegRecord], None], timers: Timers | None = None) -> None:
        self.config = config
        self.endpoint = Endpoint(
            Handlers(self._receive, lambda ack: self.landlines.receive_ack(ack), self._receive_late_success), timers
        )
        self.landlines = Landlines(
            self.endpoint, config.landlines, config.landline_ring_seconds, write, f"{config.seed}/carrier"
        )
        self.stopping = asyncio.Event()
        self.active = 0
        self.latest_start_ms = 0.0
        self.on_event: Callable[[str, LegRecord], None] = lambda *_: None
        self._write = write
        self._legs: dict[tuple[str, str | None, str | None], Leg] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._random = random.Random(f"{config.seed}/carrier")

    async def start(self) -> None:
        await self.endpoint.bind(self.config.address)

    async def run(self) -> None:
        """Work through the schedule until told to stop, then hang up every call and wait for the records."""
        schedules = [asyncio.create_task(self._stream(stream)) for stream in self.config.short]
        for long in self.config.long:
            for _ in range(long.count):
                self._begin(Plan("long", long.number, long.tenant))
        try:
            await asyncio.wait_for(self.stopping.wait(), self.config.seconds)
        except TimeoutError:
            self.stopping.set()
        for schedule in schedules:
            schedule.cancel()
        await asyncio.gather(*schedules, return_exceptions=True)
        await asyncio.gather(*self._tasks)
        await self.landlines.close()

    def close(self) -> None:
        self.endpoint.close()

    def _begin(self, plan: Plan) -> None:
        self._spawn(self.call(plan))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stream(self, stream: ShortCalls) -> None:
        """An open schedule: the next call starts at its time whatever became of the last one."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for index, plan in enumerate(short_plans(stream, self._random)):
            due = begun + (index + 1) * stream.every
            await asyncio.sleep(due - loop.time())
            self.latest_start_ms = max(self.latest_start_ms, (loop.time() - due) * 1000)
            self._begin(plan)

    def _invite(
        self, plan: Plan, call_id: str, media: MediaSession, crypto: sdp.Crypto | None, server: Address, number: str
    ) -> Request:
        host, port = self.endpoint.address
        server_host, server_port = server
        called = Uri(server_host, number, None if server_port == 5060 else server_port)
        request = Request(method="INVITE", uri=str(called))
        request.add("Max-Forwards", 70)
        request.add("From", NameAddress(Uri(host, self.config.caller), {"tag": new_tag()}))
        request.add("To", NameAddress(Uri(server_host, number)))
        request.add("Call-ID", call_id)
        request.add("CSeq", "1 INVITE")
        request.add("Contact", NameAddress(Uri(host, self.config.caller, port)))
        request.add("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS")
        if plan.callee_ends and plan.talk is not None:
            request.add(HANG_UP_AFTER, f"{plan.talk:.1f}")
        request.add("Content-Type", sdp.MIME)
        request.body = sdp.write(sdp.Description(host, media.port, crypto=crypto), media.port)
        return request

    async def call(self, plan: Plan) -> None:
        """Make one call from INVITE to its record."""
        call_id = new_call_id(self.endpoint.address[0])
        record = LegRecord(
            "carrier", call_id, self.config.caller, plan.number, plan.tenant, kind=plan.kind, attempted_at=time.time(),
            reference=plan.reference,
        )  # fmt: skip
        media = MediaSession(self.endpoint.address[0], call_id, "caller", "callee", self.config.rolled_over)
        self.active += 1
        try:
            leg = await self._reach(plan, record, media)
            if leg is None:
                record.ended_at = time.time()
                media.close()
                self._write(record)
                self.on_event("failed", record)
                return
            self.on_event("established", record)
            await self._talk(plan, leg)
            await leg.hang_up()
            await leg.closed.wait()
            self._legs.pop(leg.dialog.key, None)
            self._write(record)
            self.on_event("ended", record)
        finally:
            self.active -= 1

    async def _reach(self, plan: Plan, record: LegRecord, media: MediaSession) -> Leg | None:
        """The platform's addresses in order, then the landline that calls are forwarded to; None when none answers."""
        reached = False
        for server in (self.config.server, *self.config.more_servers):
            leg = await self._set_up(plan, record, media, server, plan.number)
            reached = record.code is not None and record.reason != SILENCE
            if leg is not None or reached:
                break
        if leg is not None or self.config.forward_to is None or self.stopping.is_set():
            return leg
        reason = forward_reason(record, reached)
        if reason is None:
            return None
        record.forwarded = f"{self.config.forward_to} {reason}"
        return await self._set_up(plan, record, media, self.endpoint.address, self.config.forward_to)

    async def _set_up(
        self, plan: Plan, record: LegRecord, media: MediaSession, server: Address, number: str
    ) -> Leg | None:
        """The call up to its ACK; None when it failed, with the reason in the record."""
        crypto = sdp.Crypto.new() if self.config.srtp else None
        invite = self._invite(plan, record.call_id, media, crypto, server, number)
        transaction = self.endpoint.start_client(invite, server)

        def provisional(response: Response) -> None:
            if response.status >= 180 and record.ringing_at is None:
                record.ringing_at = time.time()

        transaction.on_provisional = provisional
        try:
            final = await self._final(transaction, record)
        except TransactionTimeout:
            record.code, record.reason = 408, SILENCE
            return None
        finally:
            record.invite_retransmissions = transaction.retransmissions
        record.code, record.reason = final.status, final.reason
        if final.status >= 300:
            return None
        record.answered_at = time.time()
        transaction.on_further_success = lambda response: self._further_success(record, invite, response)
        return self._establish(record, media, crypto, invite, final)

    async def _final(self, transaction: ClientTransaction, record: LegRecord) -> Response:
        """The final response, after a CANCEL when it rings for too long. Raises TransactionTimeout."""
        if self.config.unreachable_seconds is not None:
            await asyncio.wait({transaction.final}, timeout=self.config.unreachable_seconds)
            if not transaction.proceeding and not transaction.final.done():
                # One that answers after all is not wanted any more.
                transaction.final.add_done_callback(lambda done: self._not_wanted(transaction.request, done))
                raise TransactionTimeout(SILENCE)
        try:
            return await asyncio.wait_for(asyncio.shield(transaction.final), self.config.ring_limit)
        except TimeoutError:
            if transaction.proceeding:
                record.notes.append("cancelled after the ring limit")
                # Its own answer matters to nobody; the INVITE's does.
                transaction.cancel().final.add_done_callback(lambda done: done.exception())
            return await transaction.final

    def _establish(
        self, record: LegRecord, media: MediaSession, crypto: sdp.Crypto | None, invite: Request, success: Response
    ) -> Leg | None:
        try:
            dialog = Dialog.of_caller(invite, success)
        except SipError as error:
            record.notes.append(f"unusable 200: {error}")
            return None
        try:
            remote = sdp.parse(success.body)
            if (remote.crypto is None) != (crypto is None):
                raise sdp.SdpError("the answer's transport is not the offer's")
        except sdp.SdpError as error:
            record.notes.append(f"unusable 200: {error}")
            self._refuse_answer(dialog, invite.cseq[0])
            return None
        record.callee_tag = dialog.remote.tag
        leg = Leg(self.endpoint, dialog, media, record)
        leg.crypto = crypto
        self._legs[dialog.key] = leg
        leg.acknowledge(invite.cseq[0])
        leg.establish(remote)
        return leg

    async def _talk(self, plan: Plan, leg: Leg) -> None:
        limit = plan.talk
        if limit is not None and plan.callee_ends:
            limit += PATIENCE_SECONDS
        waits = {asyncio.create_task(leg.ended.wait()), asyncio.create_task(self.stopping.wait())}
        try:
            await asyncio.wait(waits, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not leg.ended.is_set() and plan.callee_ends and not self.stopping.is_set():
            leg.record.notes.append("the agent did not hang up in time")

    def _not_wanted(self, invite: Request, done: asyncio.Future[Response]) -> None:
        if done.exception() is None and done.result().status < 300:
            self._refuse_answer(Dialog.of_caller(invite, done.result()), invite.cseq[0])

    def _refuse_answer(self, dialog: Dialog, sequence: int) -> None:
        """A 2xx that cannot be used is confirmed, as it must be, and ended at once (section 13.2.2.4)."""
        self.endpoint.send_ack(*dialog.request("ACK", sequence=sequence))
        bye = self.endpoint.start_client(*dialog.request("BYE"))
        bye.final.add_done_callback(lambda done: done.exception())

    def _further_success(self, record: LegRecord, invite: Request, success: Response) -> None:
        """A second 2xx: our ACK got lost, or another phone of a forked call answered too."""
        leg = self._legs.get((success.call_id, success.from_.tag, success.to.tag))
        if leg is not None:
            leg.receive_success_again(success)
            return
        record.notes.append("another phone answered too; ended")
        self._refuse_answer(Dialog.of_caller(invite, success), invite.cseq[0])

    def _receive_late_success(self, success: Response) -> None:
        leg = self._legs.get((success.call_id, success.from_.tag, success.to.tag))
        if leg is not None:
            leg.receive_success_again(success)

    def _receive(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        if self.landlines.receive(transaction):
            return
        leg = self._legs.get(key_of_request(request))
        if leg is not None:
            leg.receive(transaction)
        elif request.method == "OPTIONS":
            transaction.respond(response_to(request, 200, tag=new_tag()))
        else:
            transaction.respond(response_to(request, 481 if request.to.tag else 405, tag=new_tag()))
