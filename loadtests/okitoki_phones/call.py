"""One side of an established call: its dialog, its audio, and how it ends."""

from __future__ import annotations

import asyncio
import time

from okitoki_phones import sdp
from okitoki_phones.dialog import Dialog
from okitoki_phones.media import MediaSession
from okitoki_phones.records import LegRecord
from okitoki_phones.sip import Request, Response, response_to
from okitoki_phones.transaction import Address, Endpoint, ServerTransaction, TransactionTimeout

# Packets that were on the wire when the call ended still arrive; they are not losses.
DRAIN_SECONDS = 0.1


class Leg:
    """A call as one phone sees it, from the 2xx on. `ended`: no more call; `closed`: its record is complete."""

    def __init__(self, endpoint: Endpoint, dialog: Dialog, media: MediaSession, record: LegRecord) -> None:
        self.endpoint = endpoint
        self.dialog = dialog
        self.media = media
        self.record = record
        self.crypto: sdp.Crypto | None = None
        """The own key, when the call's audio is SRTP."""
        self.ended = asyncio.Event()
        self.closed = asyncio.Event()
        self._ack: tuple[Request, Address] | None = None
        self._hanging_up = False
        self._description_version = 1

    def establish(self, remote: sdp.Description) -> None:
        """Audio may flow: the ACK was sent or has come."""
        if self.record.established_at is None:
            self.record.established_at = time.time()
            self.record.media_address = remote.host
            self.record.encrypted = self.crypto is not None and remote.crypto is not None
            self.media.encrypt(self.crypto, remote.crypto)
            self.media.start((remote.host, remote.port))

    def acknowledge(self, sequence: int) -> None:
        """Send the ACK to a 2xx by the route set, and keep it: each further copy of the 2xx needs one."""
        if self._ack is None:
            self._ack = self.dialog.request("ACK", sequence=sequence)
        self.endpoint.send_ack(*self._ack)

    def receive_success_again(self, success: Response) -> None:
        """A 2xx retransmitted by the callee because our ACK was lost."""
        if self._ack is not None and success.cseq[0] == self._ack[0].cseq[0]:
            self.endpoint.send_ack(*self._ack)

    async def hang_up(self) -> None:
        """Send BYE and wait for its answer."""
        if self.ended.is_set() or self._hanging_up:
            await self.ended.wait()
            return
        self._hanging_up = True
        ended_at = time.time()
        self.media.stop_sending()
        await asyncio.sleep(DRAIN_SECONDS)
        if self.ended.is_set():  # the other side was faster
            return
        request, destination = self.dialog.request("BYE")
        transaction = self.endpoint.start_client(request, destination)
        try:
            self.record.bye_code = (await transaction.final).status
        except TransactionTimeout:
            self.record.notes.append("no answer to BYE")
        self.record.bye_retransmissions = transaction.retransmissions
        self._finish("local", ended_at)

    def receive(self, transaction: ServerTransaction) -> None:
        """A request within the dialog."""
        request = transaction.request
        if not self.dialog.refresh(request):
            transaction.respond(response_to(request, 500))
        elif request.method == "BYE":
            transaction.respond(response_to(request, 200))
            if not self.ended.is_set():
                self.media.stop_sending()
                self._finish("remote", time.time())
        elif request.method == "INVITE":
            self._receive_reinvite(transaction)
        elif request.method in {"OPTIONS", "INFO", "UPDATE"}:
            transaction.respond(response_to(request, 200))
        else:
            transaction.respond(response_to(request, 405))

    def _receive_reinvite(self, transaction: ServerTransaction) -> None:
        """Follow the other side to another address, or into or out of hold (RFC 3264 section 8)."""
        request = transaction.request
        own = sdp.Description(self.endpoint.address[0], self.media.port, crypto=self.crypto)
        if request.body:
            try:
                offer = sdp.parse(request.body)
                if (offer.crypto is None) != (self.crypto is None):
                    raise sdp.SdpError("it would change whether the audio is encrypted")
            except sdp.SdpError as error:
                self.record.notes.append(f"re-INVITE refused: {error}")
                transaction.respond(response_to(request, 488))
                return
            if self.crypto is not None and offer.crypto is not None:
                self.crypto = sdp.Crypto(offer.crypto.tag, self.crypto.key)
                self.media.encrypt(self.crypto, offer.crypto)
            own = sdp.Description(own.host, own.port, offer.answer_direction(), self.crypto)
            self.media.redirect((offer.host, offer.port), sending="send" in own.direction)
        self._description_version += 1
        answer = response_to(request, 200, body=sdp.write(own, own.port, self._description_version))
        answer.add("Contact", self.dialog.contact)
        answer.add("Content-Type", sdp.MIME)
        transaction.respond(answer)

    def vanish(self, note: str) -> None:
        """End without a BYE: the other side never confirmed, or nobody is left to say goodbye to."""
        if not self.ended.is_set():
            self.record.notes.append(note)
            self.media.stop_sending()
            self._finish("nobody", time.time())

    def _finish(self, by: str, ended_at: float) -> None:
        self.record.ended_by = by
        self.record.ended_at = ended_at
        self.ended.set()
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._close)

    def _close(self) -> None:
        self.media.close(self.record.ended_at if self.record.established else None)
        self.record.audio = self.media.as_json()
        self.closed.set()
