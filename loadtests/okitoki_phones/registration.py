"""A phone's registration: REGISTER with digest, kept alive for as long as the phone is (RFC 3261 section 10)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from okitoki_phones.dialog import new_call_id, new_tag
from okitoki_phones.digest import Challenge, DigestError, authorization
from okitoki_phones.sip import NameAddress, Request, Response, Uri
from okitoki_phones.transaction import Address, Endpoint, TransactionTimeout

RETRY_SECONDS = 1.0
GOODBYE_SECONDS = 2.0


@dataclass
class RegistrationCounts:
    """How the registration fared."""

    accepted: int = 0
    failed: int = 0
    last_failure: str | None = None
    registered_at: float | None = None


class Registration:
    """Registers one address of record at one server until it is told to stop."""

    def __init__(self, endpoint: Endpoint, server: Address, aor: Uri, secret: str, expires: int) -> None:
        self.counts = RegistrationCounts()
        self.on_change: Callable[[bool, str], None] = lambda *_: None
        self.registered = asyncio.Event()
        self._endpoint = endpoint
        self._server = server
        self._aor = aor
        self._secret = secret
        self._expires = expires
        self._call_id = new_call_id(aor.host)
        self._tag = new_tag()
        self._sequence = 0
        self._challenge: tuple[str, Challenge] | None = None
        self._uses = 0
        self._again = asyncio.Event()

    async def run(self) -> None:
        """Register, refresh at half of the granted time, try again soon after a failure. Ends by cancellation."""
        while True:
            self._again.clear()
            granted = await self._attempt(self._expires)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS if granted is None else granted / 2):
                    await self._again.wait()

    def renew(self) -> None:
        """Do not wait any longer: what was registered is not where this phone is now."""
        self._again.set()

    async def remove(self) -> None:
        """Give the registration up, without insisting."""
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._attempt(0)
        except TimeoutError:
            self.counts.last_failure = "no answer when unregistering"

    async def _attempt(self, expires: int) -> int | None:
        try:
            response = await self._register(expires)
        except (TransactionTimeout, DigestError) as error:
            self._failed(str(error))
            return None
        if response.status != 200:
            self._failed(f"{response.status} {response.reason}")
            return None
        self.counts.accepted += 1
        self.counts.registered_at = time.time()
        if expires and not self.registered.is_set():
            self.registered.set()
            self.on_change(True, "200 OK")
        return max(2, granted_seconds(response, self._contact(), expires))

    def _failed(self, why: str) -> None:
        self.counts.failed += 1
        if self.registered.is_set() or self.counts.last_failure != why:
            self.on_change(False, why)
        self.counts.last_failure = why
        self.registered.clear()

    async def _register(self, expires: int) -> Response:
        response = await self._send(expires)
        if response.status in {401, 407}:
            # The first answer may only mean that the remembered nonce is too old.
            self._take_challenge(response)
            response = await self._send(expires)
            if response.status in {401, 407}:
                self._challenge = None
        return response

    def _take_challenge(self, response: Response) -> None:
        asks, answers = (
            ("WWW-Authenticate", "Authorization")
            if response.status == 401
            else ("Proxy-Authenticate", "Proxy-Authorization")
        )
        headers = response.all(asks)
        if not headers:
            raise DigestError(f"{response.status} without {asks}")
        failures = []
        for header in headers:
            try:
                self._challenge, self._uses = (answers, Challenge.parse(header)), 0
                return
            except DigestError as error:
                failures.append(str(error))
        raise DigestError("; ".join(failures))

    def _contact(self) -> Uri:
        return self._endpoint.contact(self._aor.user).uri

    async def _send(self, expires: int) -> Response:
        self._sequence += 1
        uri = str(Uri(self._aor.host))
        request = Request(method="REGISTER", uri=uri)
        request.add("Max-Forwards", 70)
        request.add("From", NameAddress(self._aor, {"tag": self._tag}))
        request.add("To", NameAddress(self._aor))
        request.add("Call-ID", self._call_id)
        request.add("CSeq", f"{self._sequence} REGISTER")
        request.add("Contact", NameAddress(self._contact()))
        request.add("Expires", expires)
        if self._challenge is not None:
            header, challenge = self._challenge
            self._uses += 1
            answer = authorization(
                challenge, username=self._aor.user or "", password=self._secret, method="REGISTER", uri=uri,
                count=self._uses,
            )  # fmt: skip
            request.add(header, answer)
        return await self._endpoint.start_client(request, self._server).final


def granted_seconds(response: Response, contact: Uri, asked: int) -> int:
    """How long the registrar keeps this contact: its own parameter, else Expires, else what was asked for."""
    for value in response.all("Contact"):
        found = NameAddress.parse(value)
        same = (found.uri.user, found.uri.host, found.uri.port or 5060) == (contact.user, contact.host, contact.port)
        given = found.parameters.get("expires")
        if same and given and given.isdigit():
            return int(given)
    header = response.get("Expires")
    return int(header) if header and header.strip().isdigit() else asked
