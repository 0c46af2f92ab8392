"""Landline phones behind the carrier: they ring, answer and talk until the other side hangs up."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

from okitoki_phones import sdp
from okitoki_phones.agent import HANG_UP_AFTER
from okitoki_phones.call import Leg
from okitoki_phones.dialog import Dialog, key_of_request, new_tag
from okitoki_phones.media import MediaSession
from okitoki_phones.records import LegRecord
from okitoki_phones.sip import NameAddress, Request, Uri, response_to
from okitoki_phones.transaction import Endpoint, ServerTransaction


class Landlines:
    """Any number of calls at once to the numbers given; they share the carrier's socket."""

    def __init__(
        self,
        endpoint: Endpoint,
        numbers: tuple[str, ...],
        ring_seconds: tuple[float, float],
        write: Callable[[LegRecord], None],
        seed: str = "",
    ) -> None:
        self.endpoint, self.numbers = endpoint, frozenset(numbers)
        self._ring_seconds, self._write = ring_seconds, write
        self._random = random.Random(f"{seed}/landlines")
        self._legs: dict[tuple[str, str | None, str | None], tuple[ServerTransaction, Leg]] = {}
        self._ringing: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def receive(self, transaction: ServerTransaction) -> bool:
        """Whether the request was for a landline, and has been taken care of."""
        request = transaction.request
        if request.method == "CANCEL":
            cancelled = self._ringing.get(request.via.branch)
            if cancelled is not None:
                cancelled.set()
                transaction.respond(response_to(request, 200, tag=new_tag()))
            return cancelled is not None
        if (known := self._legs.get(key_of_request(request))) is not None:
            known[1].receive(transaction)
            return True
        if request.method != "INVITE" or request.to.tag is not None or Uri.parse(request.uri).user not in self.numbers:
            return False
        self._spawn(self._ring(transaction))
        return True

    def receive_ack(self, ack: Request) -> None:
        """The ACK to a 200, which is no part of its transaction."""
        if (known := self._legs.get(key_of_request(ack))) is not None:
            known[0].confirm()

    async def close(self) -> None:
        """Hang up what is still up."""
        await asyncio.gather(*(leg.hang_up() for _, leg in list(self._legs.values())))
        await asyncio.gather(*list(self._tasks), return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ring(self, transaction: ServerTransaction) -> None:
        request, tag = transaction.request, new_tag()
        number = Uri.parse(request.uri).user or ""
        record = LegRecord(
            "landline", request.call_id, request.from_.uri.user or "", number, attempted_at=time.time(), callee_tag=tag
        )
        cancelled = self._ringing[request.via.branch] = asyncio.Event()
        try:
            host, port = self.endpoint.address
            offer = sdp.parse(request.body)
            dialog = Dialog.of_callee(request, tag, NameAddress(Uri(host, number, port)))
            ringing = response_to(request, 180, tag=tag)
            ringing.add("Contact", dialog.contact)
            transaction.respond(ringing)
            record.ringing_at = time.time()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(cancelled.wait(), self._random.uniform(*self._ring_seconds))
            if not cancelled.is_set():
                await self._talk(transaction, offer, dialog, record)
                return
            transaction.respond(response_to(request, 487, tag=tag))
            record.code = 487
        except sdp.SdpError as error:
            record.notes.append(str(error))
            transaction.respond(response_to(request, 488, tag=tag))
            record.code = 488
        finally:
            self._ringing.pop(request.via.branch, None)
        record.ended_at = time.time()
        self._write(record)

    async def _talk(
        self, transaction: ServerTransaction, offer: sdp.Description, dialog: Dialog, record: LegRecord
    ) -> None:
        request = transaction.request
        media = MediaSession(self.endpoint.address[0], request.call_id, "callee", "caller")
        leg = Leg(self.endpoint, dialog, media, record)
        self._legs[dialog.key] = transaction, leg
        own = sdp.Description(self.endpoint.address[0], media.port, offer.answer_direction())
        answer = response_to(request, 200, tag=dialog.local.tag, body=sdp.write(own, own.port))
        answer.add("Contact", dialog.contact)
        answer.add("Content-Type", sdp.MIME)
        record.answered_at, record.code = time.time(), 200
        transaction.on_no_acknowledgement = lambda: leg.vanish("no ACK to the 200")
        transaction.respond(answer)
        waits = [asyncio.create_task(event.wait()) for event in (transaction.acknowledged, leg.ended)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not leg.ended.is_set():
                leg.establish(offer)
                wish = request.get(HANG_UP_AFTER)
                if wish is not None and wish.strip().replace(".", "", 1).isdigit():
                    await asyncio.wait(waits[1:], timeout=float(wish))
                    await leg.hang_up()
            await leg.closed.wait()
        finally:
            for wait in waits:
                wait.cancel()
            self._legs.pop(dialog.key, None)
            self._write(record)
