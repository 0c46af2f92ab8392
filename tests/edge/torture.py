"""SIP messages that a parser may stumble over: one for each case of RFC 4475, section 3, written anew from what the RFC
says is odd about it, with this lab's addresses; and mutations of good requests. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab import NETWORK, SIP
from phones import HOST, NUMBER

STRANGER = f"{NETWORK}.99"
_SDP = f"v=0\r\no=- 1 1 IN IP4 {STRANGER}\r\ns=-\r\nc=IN IP4 {STRANGER}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"
_SDP_TYPE = "Content-Type: application/sdp"

VALID, INVALID, RESPONSE = "valid", "invalid", "response"


@dataclass(frozen=True)
class Torture:
    """A case by the RFC's name for it. `kind`: a valid request, which deserves an answer that does not call it
    malformed; an invalid one, which may be dropped; or a response to nothing, which nobody answers."""

    name: str
    kind: str
    message: bytes


def message(first: str, *changes: str, body: bytes | str = "", length: str = "") -> bytes:
    """`first` and the usual header fields. Of `changes`, `Name: value` replaces a field or adds one, `-Name` leaves one
    out, `+Name: value` adds one beside it; what is no such line stands as it is."""
    octets = body.encode() if isinstance(body, str) else body
    method = first.split()[0] if not first.startswith("SIP/") else "INVITE"
    fields = {
        "via": f"Via: SIP/2.0/UDP {STRANGER};rport;branch=z9hG4bKUNIQUE",
        "max-forwards": "Max-Forwards: 70",
        "from": f"From: <sip:1001@{HOST}>;tag=UNIQUE",
        "to": f"To: <sip:1001@{HOST}>",
        "call-id": f"Call-ID: UNIQUE@{STRANGER}",
        "cseq": f"CSeq: 1 {method}",
        "contact": f"Contact: <sip:1001@{STRANGER}>",
    }
    more: list[str] = []
    for change in changes:
        name = change.partition(":")[0].strip().lower()
        if change.startswith("-"):
            del fields[name[1:]]
        elif name in fields:
            fields[name] = change
        else:
            more.append(change.removeprefix("+"))
    more.append(length or f"Content-Length: {len(octets)}")
    return "\r\n".join([first, *fields.values(), *more, "", ""]).encode() + octets


def _request(method: str, *changes: str, uri: str = "", body: bytes | str = "", length: str = "") -> bytes:
    where = uri or {"REGISTER": f"sip:{HOST}", "INVITE": f"sip:{NUMBER}@{SIP}"}.get(method, f"sip:{SIP}")
    if method == "INVITE" and not body:
        changes, body = (*changes, _SDP_TYPE), _SDP
    return message(f"{method} {where} SIP/2.0", *changes, body=body, length=length)


def flood_messages() -> list[bytes]:
    """What a guesser of passwords and a dialler send."""
    digest = f'Authorization: Digest username="1001",realm="acme",nonce="x",uri="sip:{HOST}",response="{"0" * 32}"'
    return [_request("REGISTER"), _request("REGISTER", digest), _request("INVITE"), _request("OPTIONS")]


def _valid() -> Iterator[tuple[str, bytes]]:
    """Section 3.1.1."""
    folded = (
        f"INVITE sip:{NUMBER}@{SIP};unknownparam SIP/2.0\r\nTO :\r\n <sip:1001@{HOST}>   \r\n"
        f'from   : "Quote \\\\\\"" <sip:1001@{HOST}>\r\n  ;\r\n  tag = UNIQUE\r\nmAx-FORWARDS: 0070\r\n'
        f"Call-ID: folded.UNIQUE@{STRANGER}\r\nCseq: 0009\r\n  INVITE\r\nVia  : SIP  /   2.0\r\n /UDP\r\n"
        f"    {STRANGER};rport;branch=z9hG4bKUNIQUE\r\ns :\r\nNobodyKnowsThis:   a value\r\n folded once\r\n"
        f"NorThis: ;;,,;;,;\r\nContent-Type: application/sdp\r\nv:  SIP  / 2.0  / TCP  192.0.2.2   ;\r\n"
        f"  branch  =   z9hG4bKa  , SIP  /    2.0   / UDP  {STRANGER}   ;\r\n  branch=z9hG4bKb\r\n"
        f'm:"Quoted \\"\\"" <sip:1001@{STRANGER}> ; newparam =\r\n  newvalue ;\r\n  other ; q = 0.33\r\n'
    )
    yield "wsinv", f"{folded}l: {len(_SDP)}\r\n\r\n{_SDP}".encode()
    odd = "!interesting-Method0123456789_*+`.%indeed'~"
    yield (
        "intmeth",
        _request(
            odd,
            f'To: "BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:1001@{HOST}>',
            f"From: a~` b'+_ c*%!.- <sip:1001@{HOST}>;from''~+*_!.-%=\"работающий\";tag=_UNIQUE~1'+`*%!-.",
            f"CSeq: 139122385 {odd}",
            "extensionHeader-!.%*+_`'~: 大停電",
            uri=f"sip:1_odd.user~(is!it)&not+so$/strange?,/;;*:&with+a=1,strange!*pas$wo~d_too.(isn't-it)@{SIP}",
        ),
    )
    yield "esc01", _request("INVITE", "To: <sip:%75se%72@example.com>", uri=f"sip:sips%3Auser%40example.com@{SIP}")
    null = f"<sip:null-%00-null@{HOST}>"
    yield "escnull", _request("REGISTER", f"To: {null}", f"From: {null};tag=UNIQUE", f"Contact: <sip:%00@{STRANGER}>")
    yield "esc02", _request("RE%47IST%45R", f'To: "%Z%45" <sip:resource@{HOST}>', uri=f"sip:{HOST}")
    yield "lwsdisp", _request("OPTIONS", f"From: caller<sip:caller@{HOST}>;tag=UNIQUE")
    long = "very" + "-long" * 40
    vias = [f"+Via: SIP/2.0/TCP sip{number}.example.com;branch=z9hG4bK{long}{number}" for number in range(33)]
    yield (
        "longreq",
        _request(
            "INVITE",
            f'To: "{"I have a very long name " * 30}" <sip:1001@{HOST}:6000;{long}=1;{long}value={long}>',
            f"From: <sip:1001@{HOST}>;tag=UNIQUE;{long}={long};{long}1",
            f"Call-ID: longreq.{long}.UNIQUE",
            f"{long}: {long}",
            f"Contact: <sip:{long}@{STRANGER}>",
            *vias,
        ),
    )
    yield "dblreq", _request("REGISTER") + _request("INVITE")
    yield "semiuri", _request("OPTIONS", uri=f"sip:user;par=u%40example.net@{SIP}")
    kinds = ("SCTP", "TLS", "UNKNOWN", "TCP")
    more = [f"+Via: SIP/2.0/{kind} t{number}.example.com;branch=z9hG4bK{kind}" for number, kind in enumerate(kinds)]
    yield "transports", _request("OPTIONS", *more)
    parts = (
        b"--7a9cbec02ceef655\r\nContent-Type: text/plain\r\n\r\nHello\r\n--7a9cbec02ceef655\r\n"
        b"Content-Type: application/octet-stream\r\n\r\n" + bytes(range(256)) + b"\r\n--7a9cbec02ceef655--"
    )
    yield "mpart01", _request("MESSAGE", 'Content-Type: multipart/mixed;boundary="7a9cbec02ceef655"', body=parts)


def _answers() -> Iterator[tuple[str, bytes]]:
    """Responses, of sections 3.1.1, 3.1.2 and 3.3: to no request of ours."""
    yield "unreason", message("SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять - простое")
    yield "noreason", message("SIP/2.0 100 ")
    yield (
        "scalarlg",
        message(
            "SIP/2.0 503 Service Unavailable",
            "CSeq: 9292394834772304023312 OPTIONS",
            "Retry-After: 949302838503028349304023988",
            'Warning: 1812 overture "In Progress"',
        ),
    )
    yield "bigcode", message("SIP/2.0 4294967301 better not break the receiver", "CSeq: 8 INVITE")
    ways = ("Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1", "+Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK2")
    yield "bcast", message("SIP/2.0 200 OK", *ways)


def _invalid() -> Iterator[tuple[str, bytes]]:
    """Section 3.1.2."""
    yield "badinv01", _request("INVITE", f"Via: SIP/2.0/UDP {STRANGER};;,;,,", 'Contact: "" <> ;,,;;')
    yield "clerr", _request("INVITE", length="Content-Length: 9999")
    yield "ncl", _request("INVITE", length="Content-Length: -999")
    yield (
        "scalar02",
        _request(
            "REGISTER",
            "CSeq: 36893488147419103232 REGISTER",
            "Max-Forwards: 300",
            "Expires: 1" + "0" * 60,
            f"Contact: <sip:1001@{STRANGER}>;expires=280297596632815",
        ),
    )
    yield "quotbal", _request("INVITE", f'To: "Mr J. User <sip:1001@{HOST}>')
    yield "ltgtruri", _request("INVITE", uri=f"<sip:{NUMBER}@{SIP}>")
    yield "lwsruri", _request("INVITE", uri=f"sip:{NUMBER}@{SIP}; lr")
    yield "lwsstart", _request("INVITE", uri=f" sip:{NUMBER}@{SIP} ")
    yield "trws", message(f"OPTIONS sip:{NUMBER}@{SIP} SIP/2.0  ")
    yield "escruri", _request("INVITE", uri=f"sip:{NUMBER}@{SIP}?Route=%3Csip:example.com%3E")
    yield "baddate", _request("INVITE", "Date: Fri, 01 Jan 2010 16:00:00 EST")
    yield "regbadct", _request("REGISTER", f"Contact: sip:1001@{STRANGER}?Route=%3Csip:sip.example.com%3E")
    yield "badaspec", _request("OPTIONS", f'To: "Watson, Thomas" < sip:t.watson@{HOST} >')
    yield "baddn", _request("OPTIONS", f"From: Bell, Alexander <sip:a.g.bell@{HOST}>;tag=UNIQUE")
    yield "badvers", message(f"OPTIONS sip:{SIP} SIP/7.0", f"Via: SIP/7.0/UDP {STRANGER};rport;branch=z9hG4bKUNIQUE")
    yield "mismatch01", _request("OPTIONS", "CSeq: 8 INVITE")
    yield "mismatch02", _request("NEWMETHOD", "CSeq: 8 INVITE")
    # Section 3.2
    yield "badbranch", _request("OPTIONS", f"Via: SIP/2.0/UDP {STRANGER};rport;branch=z9hG4bK")


def _semantics() -> Iterator[tuple[str, str, bytes]]:
    """Sections 3.3 and 3.4: well-formed to a parser, and odd to who acts on them."""
    yield "insuf", INVALID, _request("INVITE", "-From", "-To", "-Call-ID")
    yield "unkscm", INVALID, _request("OPTIONS", uri="nobodyKnowsThisScheme:totallyopaquecontent")
    yield "novelsc", INVALID, _request("OPTIONS", uri="soap.beep://192.0.2.103:3002")
    foreign = "<isbn:2983792873>"
    changes = (f"To: {foreign}", "From: <http://www.example.com>;tag=UNIQUE", "Contact: <name:John_Smith>")
    yield "unksm2", INVALID, _request("REGISTER", *changes)
    asked = ("nothingSupportsThis, nothingSupportsThisEither", "noProxiesSupportThis, norDoAnyProxiesSupportThis")
    yield "bext01", INVALID, _request("OPTIONS", f"Require: {asked[0]}", f"Proxy-Require: {asked[1]}")
    yield "invut", VALID, _request("INVITE", "Content-Type: application/unknownformat", body="<audio>\r\n</audio>\r\n")
    yield "regaut01", VALID, _request("REGISTER", "Authorization: NoOneKnowsThisScheme opaque-data=here")
    doubled = (
        "+CSeq: 59 INVITE",
        f"+Call-ID: other.UNIQUE@{STRANGER}",
        "+Max-Forwards: 5",
        f"+From: <sip:2@{HOST}>;tag=2",
        f"+To: <sip:3@{HOST}>",
    )
    yield "multi01", INVALID, _request("INVITE", *doubled)
    yield "mcl01", INVALID, _request("OPTIONS", "+Content-Length: 13", body="There's no way to know")
    yield "zeromf", VALID, _request("OPTIONS", "Max-Forwards: 0")
    yield "cparam01", VALID, _request("REGISTER", f"Contact: sip:+19725552222@{STRANGER};unknownparam")
    yield "cparam02", VALID, _request("REGISTER", f"Contact: <sip:+19725552222@{STRANGER};unknownparam>")
    yield "regescrt", VALID, _request("REGISTER", f"Contact: <sip:1001@{STRANGER}?Route=%3Csip:sip.example.com%3E>")
    yield "sdp01", VALID, _request("INVITE", "Accept: text/nobodyKnowsThis")
    yield (
        "inv2543",
        VALID,
        (
            f"INVITE sip:{NUMBER}@{SIP} SIP/2.0\r\nVia: SIP/2.0/UDP {STRANGER}\r\nFrom: <sip:caller@{HOST}>\r\n"
            f"To: sip:UserB@{HOST};tag\r\nCall-ID: old.UNIQUE@{STRANGER}\r\nCSeq: 1 INVITE\r\n"
            f"{_SDP_TYPE}\r\nContent-Length: {len(_SDP)}\r\n\r\n{_SDP}"
        ).encode(),
    )


def cases() -> list[Torture]:
    """Every case of the RFC, once."""
    return [
        *(Torture(name, VALID, octets) for name, octets in _valid()),
        *(Torture(name, RESPONSE, octets) for name, octets in _answers()),
        *(Torture(name, INVALID, octets) for name, octets in _invalid()),
        *(Torture(name, kind, octets) for name, kind, octets in _semantics()),
    ]


def mutations(generator: random.Random, count: int, good: Sequence[bytes]) -> Iterator[bytes]:
    """`count` times one of `good` with octets changed, lost and put in."""
    pieces = (b"\r\n", b";", b"<", b'"', b":", b"%", b"\0", b"9" * 40, b"\r\n \t", b"\xff\xfe", b"y" * 60000)
    for _ in range(count):
        mutated = bytearray(generator.choice(good))
        for _ in range(generator.randint(1, 12)):
            where = generator.randrange(len(mutated))
            match generator.randrange(3):
                case 0:
                    mutated[where] = generator.randrange(256)
                case 1:
                    del mutated[where : where + generator.randint(1, 20)]
                case _:
                    mutated[where:where] = generator.choices(pieces, [8] * (len(pieces) - 1) + [1])[0]
            mutated = mutated or bytearray(b"x")
        # A datagram holds no more, with a number in the place of UNIQUE.
        yield bytes(mutated[:65000])
