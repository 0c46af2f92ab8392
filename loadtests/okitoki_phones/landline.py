"""Landline phones behind the carrier: they ring, answer and talk until the other side hangs up."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

from okitoki_phones import callee, sdp
from okitoki_phones.call import Leg
from okitoki_phones.dialog import Dialog, key_of_request, new_tag
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
            if await callee.ring(transaction, dialog, record, cancelled, self._random.uniform(*self._ring_seconds)):
                await self._talk(transaction, offer, dialog, record)
                return
            callee.refuse(transaction, record, 487, tag)
        except sdp.SdpError as error:
            record.notes.append(str(error))
            callee.refuse(transaction, record, 488, tag)
        finally:
            self._ringing.pop(request.via.branch, None)
        self._write(record)

    async def _talk(
        self, transaction: ServerTransaction, offer: sdp.Description, dialog: Dialog, record: LegRecord
    ) -> None:
        leg = callee.answer(self.endpoint, transaction, record, offer, dialog)
        self._legs[dialog.key] = transaction, leg
        try:
            await callee.talk(transaction, leg, offer)
        finally:
            self._legs.pop(dialog.key, None)
            self._write(record)
