from __future__ import annotations

import pytest

from okitoki_phones.sdp import Crypto, Description, SdpError, parse, write

OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\na=sendonly\r\n"
    b"m=video 4000 RTP/AVP 96\r\nc=IN IP4 10.0.0.9\r\n"
    b"m=audio 30000 RTP/AVP 0 8 101\r\nc=IN IP4 10.0.0.2\r\na=rtpmap:8 PCMA/8000\r\na=rtcp:30001\r\n"
    b"m=audio 5000 RTP/AVP 8\r\nc=IN IP4 10.0.0.3\r\n"
)


def test_the_first_audio_streams_own_lines_count() -> None:
    assert parse(OFFER) == Description("10.0.0.2", 30000, "sendonly")
    assert parse(OFFER).answer_direction() == "recvonly"


def test_what_is_written_reads_the_same() -> None:
    assert parse(write(Description("198.18.0.9", 40000, "inactive"), 7)) == Description("198.18.0.9", 40000, "inactive")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        OFFER.replace(b"0 8 101", b"0 101"),
        OFFER.replace(b"m=audio 30000", b"m=audio x"),
        b"v=0\r\nm=audio 30000 RTP/AVP 8\r\n",
        b"v=0\r\nc=IN IP6 ::1\r\nm=audio 30000 RTP/AVP 8\r\n",
        b"m=\r\n",
    ],
)
def test_what_offers_no_usable_audio_is_refused(body: bytes) -> None:
    with pytest.raises(SdpError):
        parse(body)


KEY = "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk"
SECURE = "v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/SAVP 8\r\na=crypto:1 F8_128_HMAC_SHA1_80 inline:x\r\n"


def test_a_key_reads_as_it_was_written_and_is_in_no_representation() -> None:
    offer = Description("10.0.0.1", 4000, crypto=Crypto.new())
    assert parse(write(offer, 1)) == offer
    assert b"RTP/SAVP" in write(offer, 1)
    assert repr(offer.crypto) == "Crypto(tag=1)"


def test_the_key_of_the_suite_that_is_known_counts_without_its_lifetime() -> None:
    crypto = parse(f"{SECURE}{KEY}|2^20|1:4\r\n".encode()).crypto
    assert crypto == Crypto(2, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcd")


@pytest.mark.parametrize(("line", "error"), [("", "no key"), (KEY[:-4], "27 bytes"), (KEY + "!", "not base64")])
def test_an_encrypted_stream_without_a_usable_key_is_refused(line: str, error: str) -> None:
    with pytest.raises(SdpError, match=error):
        parse(f"{SECURE}{line}\r\n".encode())
