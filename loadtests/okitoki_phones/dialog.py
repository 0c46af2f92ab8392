"""Dialogs: what both sides of a call remember of each other (RFC 3261 section 12)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from okitoki_phones.sip import NameAddress, Request, Response, SipError, Uri
from okitoki_phones.transaction import Address


def new_tag() -> str:
    return secrets.token_hex(6)


def new_call_id(host: str) -> str:
    return f"{secrets.token_hex(12)}@{host}"


def address_of(uri: Uri) -> Address:
    """Where a request for a URI goes. Hosts are addresses here; names are looked up by nobody."""
    return uri.host, uri.port or 5060


@dataclass
class Dialog:
    """One side's view of a call."""

    call_id: str
    local: NameAddress
    remote: NameAddress
    target: Uri
    contact: NameAddress
    routes: list[NameAddress] = field(default_factory=list)
    local_sequence: int = 0
    remote_sequence: int = 0

    @classmethod
    def of_caller(cls, invite: Request, success: Response) -> Dialog:
        """The caller's dialog: the route set is the Record-Route of the 2xx, last hop first (section 12.1.2)."""
        contact = success.contact
        if contact is None:
            raise SipError("the 2xx has no Contact")
        own = invite.contact
        if own is None:
            raise SipError("the INVITE has no Contact")
        routes = [NameAddress.parse(route) for route in reversed(success.all("Record-Route"))]
        return cls(invite.call_id, success.from_, success.to, contact.uri, own, routes, local_sequence=invite.cseq[0])

    @classmethod
    def of_callee(cls, invite: Request, tag: str, contact: NameAddress) -> Dialog:
        """The callee's dialog: the route set is the Record-Route of the INVITE as it stands (section 12.1.1)."""
        target = invite.contact
        if target is None:
            raise SipError("the INVITE has no Contact")
        routes = [NameAddress.parse(route) for route in invite.all("Record-Route")]
        local = invite.to.tagged(tag)
        return cls(invite.call_id, local, invite.from_, target.uri, contact, routes, remote_sequence=invite.cseq[0])

    @property
    def key(self) -> tuple[str, str | None, str | None]:
        return self.call_id, self.local.tag, self.remote.tag

    def request(self, method: str, *, sequence: int | None = None) -> tuple[Request, Address]:
        """A request within the dialog and where to send it (section 12.2.1.1: loose or strict first route)."""
        if sequence is None:
            self.local_sequence += 1
            sequence = self.local_sequence
        uri, routes = self.target, list(self.routes)
        if routes and not routes[0].uri.loose:
            uri, routes = routes[0].uri, [*routes[1:], NameAddress(self.target)]
            hop = uri
        else:
            hop = routes[0].uri if routes else uri
        request = Request(method=method, uri=str(uri))
        for route in routes:
            request.add("Route", route)
        request.add("Max-Forwards", 70)
        request.add("From", self.local)
        request.add("To", self.remote)
        request.add("Call-ID", self.call_id)
        request.add("CSeq", f"{sequence} {method}")
        if method == "INVITE":
            request.add("Contact", self.contact)
        return request, address_of(hop)

    def refresh(self, request: Request) -> bool:
        """Take a request of the other side into account; False when it is older than one already seen."""
        number = request.cseq[0]
        if number < self.remote_sequence:
            return False
        self.remote_sequence = number
        contact = request.contact
        if request.method == "INVITE" and contact is not None:
            self.target = contact.uri
        return True


def key_of_request(request: Request) -> tuple[str, str | None, str | None]:
    """The key of the dialog that an arriving request belongs to, as its receiver keeps it."""
    return request.call_id, request.to.tag, request.from_.tag
