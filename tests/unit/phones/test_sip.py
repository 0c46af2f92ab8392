from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okitoki_phones.dialog import Dialog
from okitoki_phones.sip import NameAddress, Request, Response, SipError, Uri, Via, parse, response_to, split_outside

INVITE = (
    b"INVITE sip:+380441234567@198.18.0.10 SIP/2.0\r\n"
    b"v: SIP/2.0/UDP 198.18.0.99:5060;branch=z9hG4bKa;rport, SIP / 2.0 / UDP first.test;branch=z9hG4bKb\r\n"
    b"f: \"Bob, the <caller>\" <sip:+380501@198.18.0.99;x=1>;tag=abc\r\n"
    b"t: sip:+380441234567@198.18.0.10;user=phone\r\n"
    b"i: call@198.18.0.99\r\n"
    b"CSEQ: 1 INVITE\r\n"
    b"m: <sip:+380501@198.18.0.99:5062>\r\n"
    b"Record-Route: <sip:198.18.0.10;lr;mv=1>\r\n"
    b"record-route: <sip:198.18.0.11;lr>, <sip:198.18.0.12;lr>\r\n"
    b"Subject: folded\r\n over two lines\r\n"
    b"l: 4\r\n\r\nbodyand more"
)  # fmt: skip


def invite() -> Request:
    message = parse(INVITE)
    assert isinstance(message, Request)
    return message


def test_odd_but_legal_input_is_understood() -> None:
    message = invite()
    assert message.method == "INVITE"
    assert message.via == Via("198.18.0.99", 5060, {"branch": "z9hG4bKa", "rport": None})
    assert [Via.parse(via).host for via in message.all("Via")] == ["198.18.0.99", "first.test"]
    assert message.from_.name == "Bob, the <caller>"
    assert message.from_.tag == "abc"
    assert message.to.parameters == {"user": "phone"}
    assert message.to.uri == Uri("198.18.0.10", "+380441234567")
    assert message.cseq == (1, "INVITE")
    assert [NameAddress.parse(route).uri.host for route in message.all("Record-Route")] == [
        "198.18.0.10",
        "198.18.0.11",
        "198.18.0.12",
    ]
    assert message.get("subject") == "folded over two lines"
    assert message.body == b"body"


def test_what_is_written_reads_the_same() -> None:
    message = invite()
    again = parse(bytes(message))
    assert isinstance(again, Request)
    assert (again.method, again.uri, again.body) == (message.method, message.uri, message.body)
    assert [h for h in again.headers if h[0] != "Content-Length"] == [
        h for h in message.headers if h[0] != "Content-Length"
    ]


def test_bare_line_feeds_and_lower_case_are_tolerated() -> None:
    message = parse(
        b"sip/2.0 200\nVia: SIP/2.0/udp h;branch=z\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>;tag=2\n"
        b"Call-ID: x\nCSeq: 3 bye\n\n"
    )
    assert isinstance(message, Response)
    assert (message.status, message.reason, message.cseq) == (200, "", (3, "BYE"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ((b"l: 4", b"l: 400"), "shorter"),
        ((b"l: 4", b"l: x"), "Content-Length"),
        ((b"i: call@198.18.0.99\r\n", b""), "Call-ID"),
        ((b"CSEQ: 1 INVITE", b"CSEQ: INVITE"), "CSeq"),
        ((b"CSEQ: 1 INVITE", b"CSEQ: 1 BYE"), "another method"),
        ((b" SIP/2.0\r\nv", b" HTTP/1.1\r\nv"), "first line"),
        ((b"Subject: folded", b"no header at all"), "not a header"),
        ((b"\r\n\r\n", b"\r\n"), "no empty line"),
        ((b"Bob", b"\xff\xfe"), "UTF-8"),
    ],
)
def test_what_is_not_sip_is_refused(change: tuple[bytes, bytes], error: str) -> None:
    with pytest.raises(SipError, match=error):
        parse(INVITE.replace(*change))


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_no_input_breaks_the_parser(data: bytes) -> None:
    for candidate in (data, INVITE[:60] + data, INVITE.replace(b"call@198.18.0.99", data)):
        try:
            message = parse(candidate)
        except SipError:
            continue
        assert message.call_id is not None


def test_separators_within_quotes_and_brackets_do_not_separate() -> None:
    assert split_outside('"a,\\"b" <sip:x,y@z>, <sip:q>', ",") == ['"a,\\"b" <sip:x,y@z>', "<sip:q>"]


def test_setting_a_header_keeps_its_place_and_the_others() -> None:
    message = invite()
    message.set("Record-Route", "<sip:one;lr>")
    names = [name for name, _ in message.headers]
    assert names.count("Record-Route") == 1
    assert names.index("Record-Route") < names.index("Subject")


def test_responses_go_back_where_the_request_came_from() -> None:
    via = invite().via.answered_from(("203.0.113.7", 40000))
    assert via.return_address() == ("203.0.113.7", 40000)
    plain = Via.parse("SIP/2.0/UDP inner.test:5080;branch=z").answered_from(("203.0.113.7", 40000))
    assert plain.return_address() == ("203.0.113.7", 5080)


def test_the_callers_route_set_is_the_record_route_reversed_and_the_callees_as_it_stands() -> None:
    request = invite()
    ok = response_to(request, 200, tag="callee")
    ok.add("Contact", "<sip:1001@198.18.0.50:5070>")
    caller = Dialog.of_caller(request, ok)
    callee = Dialog.of_callee(request, "callee", NameAddress(Uri("198.18.0.50", "1001", 5070)))
    assert [route.uri.host for route in caller.routes] == ["198.18.0.12", "198.18.0.11", "198.18.0.10"]
    assert [route.uri.host for route in callee.routes] == ["198.18.0.10", "198.18.0.11", "198.18.0.12"]
    bye, hop = callee.request("BYE")
    assert hop == ("198.18.0.10", 5060)
    assert bye.uri == "sip:+380501@198.18.0.99:5062"
    assert len(bye.all("Route")) == 3
    assert (bye.from_.tag, bye.to.tag) == ("callee", "abc")
    ack, _ = caller.request("ACK", sequence=1)
    assert ack.cseq == (1, "ACK")
    assert caller.request("BYE")[0].cseq == (2, "BYE")


def test_a_strict_router_gets_the_request_in_its_own_name() -> None:
    request = invite()
    request.set("Record-Route", "<sip:strict.test>")
    dialog = Dialog.of_callee(request, "t", NameAddress(Uri("198.18.0.50")))
    bye, hop = dialog.request("BYE")
    assert (bye.uri, hop) == ("sip:strict.test", ("strict.test", 5060))
    assert bye.all("Route") == ["<sip:+380501@198.18.0.99:5062>"]
