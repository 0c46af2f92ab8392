"""What every called phone does: it rings, answers, and talks until one side hangs up."""

from __future__ import annotations

import asyncio
import contextlib
import time

from okitoki_phones import sdp
from okitoki_phones.call import Leg
from okitoki_phones.dialog import Dialog
from okitoki_phones.media import MediaSession
from okitoki_phones.records import LegRecord
from okitoki_phones.sip import response_to
from okitoki_phones.transaction import Endpoint, ServerTransaction

# The caller's wish that the called phone be the one who hangs up; proxies hand unknown headers on.
HANG_UP_AFTER = "X-Hang-Up-After"
ALLOWED = "INVITE, ACK, CANCEL, BYE, OPTIONS"


async def ring(
    transaction: ServerTransaction, dialog: Dialog, record: LegRecord, cancelled: asyncio.Event, seconds: float
) -> bool:
    """180, then wait; whether it is to be answered (nobody has cancelled it)."""
    ringing = response_to(transaction.request, 180, tag=dialog.local.tag)
    ringing.add("Contact", dialog.contact)
    transaction.respond(ringing)
    record.ringing_at = time.time()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(cancelled.wait(), seconds)
    return not cancelled.is_set()


def refuse(transaction: ServerTransaction, record: LegRecord, status: int, tag: str) -> None:
    """End the call before it was answered; the record is complete then."""
    transaction.respond(response_to(transaction.request, status, tag=tag))
    record.code = status
    record.ended_at = time.time()


def answer(
    endpoint: Endpoint,
    transaction: ServerTransaction,
    record: LegRecord,
    offer: sdp.Description,
    dialog: Dialog,
    rolled_over: int = 0,
) -> Leg:
    """200 with the answer to the offer, encrypted as the offer is."""
    request, host = transaction.request, endpoint.address[0]
    leg = Leg(endpoint, dialog, MediaSession(host, request.call_id, "callee", "caller", rolled_over), record)
    leg.crypto = sdp.Crypto.new(offer.crypto.tag) if offer.crypto is not None else None
    # The caller may send before its ACK is here.
    leg.media.encrypt(leg.crypto, offer.crypto)
    own = sdp.Description(host, leg.media.port, offer.answer_direction(), leg.crypto)
    success = response_to(request, 200, tag=dialog.local.tag, body=sdp.write(own, own.port))
    success.add("Contact", dialog.contact)
    success.add("Allow", ALLOWED)
    success.add("Content-Type", sdp.MIME)
    record.answered_at, record.code = time.time(), 200
    transaction.on_no_acknowledgement = lambda: leg.vanish("no ACK to the 200")
    transaction.respond(success)
    return leg


async def talk(transaction: ServerTransaction, leg: Leg, offer: sdp.Description) -> None:
    """From the 200 until the leg is closed, by whoever hangs up; HANG_UP_AFTER makes this side do it."""
    acknowledged = asyncio.create_task(transaction.acknowledged.wait())
    ended = asyncio.create_task(leg.ended.wait())
    try:
        await asyncio.wait({acknowledged, ended}, return_when=asyncio.FIRST_COMPLETED)
        leg.record.invite_retransmissions = transaction.retransmissions
        if not leg.ended.is_set():
            leg.establish(offer)
            wish = transaction.request.get(HANG_UP_AFTER)
            if wish is not None and wish.strip().replace(".", "", 1).isdigit():
                await asyncio.wait({ended}, timeout=float(wish))
                await leg.hang_up()
        await leg.closed.wait()
    finally:
        acknowledged.cancel()
        ended.cancel()
