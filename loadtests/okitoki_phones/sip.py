"""SIP messages: reading and writing (RFC 3261 sections 7, 19, 20 and 25).

Lenient in what is read (compact names, folded lines, bare line feeds, odd case, several values in one line), strict in
what is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

VERSION = "SIP/2.0"

# RFC 3261 section 7.3.3 and the later registrations that phones really send.
COMPACT = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "e": "content-encoding", "f": "from",
    "i": "call-id", "k": "supported", "l": "content-length", "m": "contact", "o": "event", "r": "refer-to",
    "s": "subject", "t": "to", "u": "allow-events", "v": "via", "x": "session-expires",
}  # fmt: skip

SPELLING = {
    "call-id": "Call-ID",
    "cseq": "CSeq",
    "www-authenticate": "WWW-Authenticate",
    "mime-version": "MIME-Version",
}

# Headers whose values may share a line, separated by commas, and mean the same as on lines of their own.
LISTS = frozenset({"via", "route", "record-route", "contact", "allow", "supported", "require"})

TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")
QUOTED = re.compile(r'\s*"(?:[^"\\]|\\.)*"')
STATUS_LINE = re.compile(r"SIP/2\.0 +([1-6][0-9][0-9])(?: (.*))?", re.IGNORECASE)
REQUEST_LINE = re.compile(r"([A-Za-z0-9.!%*_+`'~-]+) +(\S+) +SIP/2\.0 *", re.IGNORECASE)


class SipError(ValueError):
    """What arrived is not a SIP message, or lacks what a SIP message must have."""


def spelled(name: str) -> str:
    """A header's usual spelling, whatever the sender's: `f` -> `From`, `call-id` -> `Call-ID`."""
    lower = name.strip().lower()
    lower = COMPACT.get(lower, lower)
    return SPELLING.get(lower) or "-".join(part.capitalize() for part in lower.split("-"))


def split_outside(text: str, separator: str) -> list[str]:
    """Split at a separator that is neither within quotes nor within angle brackets."""
    parts: list[str] = []
    begin = 0
    quoted = bracketed = escaped = False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped = char == "\\"
            quoted = char != '"'
        elif char == '"':
            quoted = True
        elif char == "<":
            bracketed = True
        elif char == ">":
            bracketed = False
        elif char == separator and not bracketed:
            parts.append(text[begin:index].strip())
            begin = index + 1
    parts.append(text[begin:].strip())
    return [part for part in parts if part]


def parse_parameters(parts: Iterable[str]) -> dict[str, str | None]:
    """`["lr", "mv=1"]` -> `{"lr": None, "mv": "1"}`; names in lower case, quotes removed."""
    found: dict[str, str | None] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        found[name.strip().lower()] = value.strip().strip('"') if equals else None
    return found


def write_parameters(parameters: dict[str, str | None]) -> str:
    return "".join(f";{name}" if value is None else f";{name}={value}" for name, value in parameters.items())


@dataclass(frozen=True, slots=True)
class Uri:
    """A sip: URI (RFC 3261 section 19.1)."""

    host: str
    user: str | None = None
    port: int | None = None
    parameters: dict[str, str | None] = field(default_factory=dict)
    scheme: str = "sip"

    @classmethod
    def parse(cls, text: str) -> Uri:
        scheme, colon, rest = text.strip().partition(":")
        if not colon or scheme.lower() not in {"sip", "sips"}:
            raise SipError(f"not a SIP URI: {text[:80]!r}")
        rest = rest.partition("?")[0]
        before, at, after = rest.rpartition("@")
        address, *parameters = after.split(";")
        host, port = split_host(address)
        user = before.partition(":")[0] if at else None
        return cls(host, user, port, parse_parameters(parameters), scheme.lower())

    def __str__(self) -> str:
        user = "" if self.user is None else f"{self.user}@"
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}:{user}{self.host}{port}{write_parameters(self.parameters)}"

    @property
    def loose(self) -> bool:
        """Whether this is a loose router (RFC 3261 section 16.12)."""
        return "lr" in self.parameters


def split_host(address: str) -> tuple[str, int | None]:
    """`host`, `host:port` or `[v6]:port` -> host and port."""
    text = address.strip()
    if text.startswith("["):
        host, _, port = text.partition("]")
        host, port = host + "]", port.lstrip(":")
    else:
        host, _, port = text.partition(":")
    if not host or (port and not port.strip().isdigit()):
        raise SipError(f"not a host: {address[:80]!r}")
    return host.strip(), int(port) if port else None


@dataclass(frozen=True, slots=True)
class NameAddress:
    """The value of From, To, Contact, Route: a URI, perhaps with a name, and parameters of the header."""

    uri: Uri
    parameters: dict[str, str | None] = field(default_factory=dict)
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> NameAddress:
        quoted = QUOTED.match(text)
        begin = quoted.end() if quoted else 0  # a quoted name may hold a bracket of its own
        before, bracket, after = text[begin:].partition("<")
        before = text[:begin] + before
        if bracket:
            inner, closing, rest = after.partition(">")
            if not closing:
                raise SipError(f"unclosed angle bracket: {text[:80]!r}")
            name = before.strip().strip('"') or None
            return cls(Uri.parse(inner), parse_parameters(split_outside(rest, ";")), name)
        # Without brackets every parameter belongs to the header, not to the URI (section 20.10).
        uri, *parameters = split_outside(text, ";")
        return cls(Uri.parse(uri), parse_parameters(parameters))

    def __str__(self) -> str:
        name = "" if self.name is None else f'"{self.name}" '
        return f"{name}<{self.uri}>{write_parameters(self.parameters)}"

    @property
    def tag(self) -> str | None:
        return self.parameters.get("tag")

    def tagged(self, tag: str) -> NameAddress:
        return NameAddress(self.uri, {**self.parameters, "tag": tag}, self.name)


@dataclass(frozen=True, slots=True)
class Via:
    """One hop that a response must pass on its way back (RFC 3261 section 20.42, rport: RFC 3581)."""

    host: str
    port: int | None = None
    parameters: dict[str, str | None] = field(default_factory=dict)
    transport: str = "UDP"

    @classmethod
    def parse(cls, text: str) -> Via:
        first, *parameters = split_outside(text, ";")
        protocol, _, sent_by = re.sub(r"\s*/\s*", "/", first).strip().partition(" ")
        pieces = protocol.split("/")
        if len(pieces) != 3 or not sent_by.strip():
            raise SipError(f"not a Via: {text[:80]!r}")
        host, port = split_host(sent_by)
        return cls(host, port, parse_parameters(parameters), pieces[2].upper())

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"{VERSION}/{self.transport} {self.host}{port}{write_parameters(self.parameters)}"

    @property
    def branch(self) -> str:
        return self.parameters.get("branch") or ""

    def answered_from(self, source: tuple[str, int]) -> Via:
        """The Via with what its receiver saw: `received`, and `rport` where it was asked for."""
        seen = dict(self.parameters)
        if "rport" in seen:
            seen["rport"] = str(source[1])
            seen["received"] = source[0]
        elif self.host != source[0]:
            seen["received"] = source[0]
        return Via(self.host, self.port, seen, self.transport)

    def return_address(self) -> tuple[str, int]:
        """Where a response goes (RFC 3261 section 18.2.2, RFC 3581 section 4)."""
        port = self.parameters.get("rport")
        return self.parameters.get("received") or self.host, int(port) if port else self.port or 5060


@dataclass(slots=True)
class Message:
    """What requests and responses share. Header names are kept in their usual spelling, in order."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def get(self, name: str) -> str | None:
        """The first value of a header."""
        wanted = spelled(name)
        return next((value for found, value in self.headers if found == wanted), None)

    def need(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise SipError(f"no {spelled(name)} header")
        return value

    def all(self, name: str) -> list[str]:
        """Every value of a header, with values that share a line taken apart."""
        wanted = spelled(name)
        lines = [value for found, value in self.headers if found == wanted]
        if wanted.lower() not in LISTS:
            return lines
        return [value for line in lines for value in split_outside(line, ",")]

    def add(self, name: str, value: object) -> None:
        self.headers.append((spelled(name), str(value)))

    def set(self, name: str, *values: object) -> None:
        """Replace all values of a header; its place among the others is kept."""
        wanted = spelled(name)
        place = next((i for i, (found, _) in enumerate(self.headers) if found == wanted), len(self.headers))
        kept = [(i, header) for i, header in enumerate(self.headers) if header[0] != wanted]
        before = [header for i, header in kept if i < place]
        after = [header for i, header in kept if i >= place]
        self.headers = [*before, *((wanted, str(value)) for value in values), *after]

    @property
    def call_id(self) -> str:
        return self.need("Call-ID")

    @property
    def from_(self) -> NameAddress:
        return NameAddress.parse(self.need("From"))

    @property
    def to(self) -> NameAddress:
        return NameAddress.parse(self.need("To"))

    @property
    def cseq(self) -> tuple[int, str]:
        number, _, method = self.need("CSeq").strip().partition(" ")
        if not number.isdigit() or not method.strip():
            raise SipError("CSeq is not a number and a method")
        return int(number), method.strip().upper()

    @property
    def via(self) -> Via:
        """The topmost Via."""
        return Via.parse(next(iter(self.all("Via")), ""))

    @property
    def contact(self) -> NameAddress | None:
        values = self.all("Contact")
        return NameAddress.parse(values[0]) if values else None

    def start_line(self) -> str:
        raise NotImplementedError

    def __bytes__(self) -> bytes:
        return b"".join(self._lines()) + self.body

    def _lines(self) -> Iterator[bytes]:
        yield f"{self.start_line()}\r\n".encode()
        for name, value in self.headers:
            if name != "Content-Length":
                yield f"{name}: {value}\r\n".encode()
        yield f"Content-Length: {len(self.body)}\r\n\r\n".encode()


@dataclass(slots=True)
class Request(Message):
    """A request; `uri` is the Request-URI as it stands in the first line."""

    method: str = ""
    uri: str = ""

    def start_line(self) -> str:
        return f"{self.method} {self.uri} {VERSION}"


@dataclass(slots=True)
class Response(Message):
    """A response."""

    status: int = 0
    reason: str = ""

    def start_line(self) -> str:
        return f"{VERSION} {self.status} {self.reason}"


def parse(data: bytes) -> Request | Response:
    """Read one datagram. Raises SipError for anything that is not a whole SIP message (section 18.3)."""
    head, blank, body = _split_body(data)
    if not blank:
        raise SipError("no empty line after the headers")
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SipError("the headers are not UTF-8") from error
    lines = text.lstrip("\r\n").replace("\r\n", "\n").split("\n")
    message = _start(lines[0])
    message.headers = list(_headers(lines[1:]))
    length = message.get("Content-Length")
    if length is not None:
        if not length.strip().isdigit():
            raise SipError("Content-Length is not a number")
        if int(length) > len(body):
            raise SipError("the body is shorter than Content-Length says")
        body = body[: int(length)]
    message.body = body
    for name in ("Call-ID", "CSeq", "From", "To", "Via"):
        message.need(name)
    number_and_method = message.cseq
    if isinstance(message, Request) and number_and_method[1] != message.method:
        raise SipError("CSeq names another method than the request line")
    return message


def _split_body(data: bytes) -> tuple[bytes, bytes, bytes]:
    stripped = data.lstrip(b"\r\n")
    match = re.search(rb"\r?\n\r?\n", stripped)
    if match is None:
        return stripped, b"", b""
    return stripped[: match.start()], match.group(), stripped[match.end() :]


def _start(line: str) -> Request | Response:
    if found := STATUS_LINE.fullmatch(line.strip()):
        return Response(status=int(found[1]), reason=found[2] or "")
    if found := REQUEST_LINE.fullmatch(line):
        return Request(method=found[1].upper(), uri=found[2])
    raise SipError(f"not a SIP first line: {line[:80]!r}")


def _headers(lines: list[str]) -> Iterator[tuple[str, str]]:
    unfolded: list[str] = []
    for line in lines:
        if line[:1] in {" ", "\t"} and unfolded:
            unfolded[-1] += " " + line.strip()
        elif line:
            unfolded.append(line)
    for line in unfolded:
        name, colon, value = line.partition(":")
        if not colon or not TOKEN.fullmatch(name.strip()):
            raise SipError(f"not a header: {line[:80]!r}")
        yield spelled(name), value.strip()


REASONS = {
    100: "Trying", 180: "Ringing", 200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 415: "Unsupported Media Type", 480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 486: "Busy Here", 487: "Request Terminated",
    488: "Not Acceptable Here", 500: "Server Internal Error", 503: "Service Unavailable",
}  # fmt: skip


def response_to(request: Request, status: int, *, tag: str | None = None, body: bytes = b"") -> Response:
    """A response with the headers that RFC 3261 section 8.2.6 copies from the request."""
    answer = Response(status=status, reason=REASONS.get(status, "Unknown"), body=body)
    for via in request.all("Via"):
        answer.add("Via", via)
    for route in request.all("Record-Route"):
        answer.add("Record-Route", route)
    to = request.to
    answer.add("From", request.need("From"))
    answer.add("To", to.tagged(tag) if tag and to.tag is None else request.need("To"))
    answer.add("Call-ID", request.call_id)
    answer.add("CSeq", request.need("CSeq"))
    return answer
