"""Session descriptions for one G.711 A-law stream (RFC 4566, RFC 3264, and RFC 4568 for its keys; no more than a phone
needs)."""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass, field

PAYLOAD_TYPE = 8
MIME = "application/sdp"
PLAIN, SECURE = "RTP/AVP", "RTP/SAVP"
SUITE = "AES_CM_128_HMAC_SHA1_80"
KEY_BYTES = 30
"""Master key (16) and salt (14) of the suite (RFC 4568 section 6.2)."""
DIRECTIONS = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


class SdpError(ValueError):
    """The description offers nothing that this phone can play, or is not one."""


@dataclass(frozen=True, slots=True)
class Crypto:
    """The key with which the describing side encrypts what it sends (RFC 4568)."""

    tag: int
    key: bytes = field(repr=False)

    @classmethod
    def new(cls, tag: int = 1) -> Crypto:
        """A key of one's own; an answer takes the tag of the offer."""
        return cls(tag, secrets.token_bytes(KEY_BYTES))


@dataclass(frozen=True, slots=True)
class Description:
    """Where one side wants its audio, and which way it flows as that side sees it. With `crypto` it is SRTP."""

    host: str
    port: int
    direction: str = "sendrecv"
    crypto: Crypto | None = None

    def answer_direction(self) -> str:
        """The direction that an answer to this offer must carry (RFC 3264 section 6.1)."""
        return DIRECTIONS[self.direction]


def write(description: Description, session: int, version: int = 1) -> bytes:
    """The body of an offer or an answer."""
    lines = [
        "v=0",
        f"o=- {session} {version} IN IP4 {description.host}",
        "s=-",
        f"c=IN IP4 {description.host}",
        "t=0 0",
        f"m=audio {description.port} {SECURE if description.crypto else PLAIN} {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} PCMA/8000",
        "a=ptime:20",
        f"a={description.direction}",
    ]
    if description.crypto is not None:
        key = base64.b64encode(description.crypto.key).decode()
        lines.append(f"a=crypto:{description.crypto.tag} {SUITE} inline:{key}")
    return "".join(f"{line}\r\n" for line in lines).encode()


def parse(body: bytes) -> Description:
    """Read the audio stream of a description. A line of the stream outweighs one of the session."""
    session: dict[str, str] = {}
    audio: dict[str, str] = {}
    media = ""
    port, transport, formats = 0, "", [""]
    for line in body.decode("utf-8", "replace").replace("\r\n", "\n").split("\n"):
        kind, equals, value = line.strip().partition("=")
        if not equals:
            continue
        if kind == "m":
            media, *rest = value.split() or [""]
            if media == "audio" and port:
                media = "another"  # only the first audio stream is used
            elif media == "audio" and len(rest) >= 3:
                if not rest[0].partition("/")[0].isdigit():
                    raise SdpError("the port of the audio stream is not a number")
                port, transport, formats = int(rest[0].partition("/")[0]), rest[1], rest[2:]
        elif media in {"", "audio"}:
            _note(audio if media else session, kind, value)
    address = audio.get("c") or session.get("c")
    if address is None or not port:
        raise SdpError("no audio stream with an address and a port")
    if str(PAYLOAD_TYPE) not in formats:
        raise SdpError(f"the audio stream does not offer G.711 A-law: {' '.join(formats)}")
    direction = audio.get("a") or session.get("a") or "sendrecv"
    return Description(address, port, direction, _crypto(transport, audio.get("crypto")))


def _crypto(transport: str, line: str | None) -> Crypto | None:
    if transport == PLAIN:
        return None
    if transport != SECURE or line is None:
        raise SdpError(f"the audio stream is {transport} and has no key of the suite {SUITE}")
    tag, _, parameters = line.split(None, 2)
    try:
        # The lifetime and the MKI, if there are any, come after a bar.
        key = base64.b64decode(parameters.removeprefix("inline:").partition("|")[0], validate=True)
    except binascii.Error as error:
        raise SdpError("the key of the audio stream is not base64") from error
    if not tag.isdigit() or len(key) != KEY_BYTES:
        raise SdpError(f"the key of the audio stream has {len(key)} bytes, not {KEY_BYTES}")
    return Crypto(int(tag), key)


def _note(section: dict[str, str], kind: str, value: str) -> None:
    if kind == "c":
        parts = value.split()
        if len(parts) != 3 or parts[:2] != ["IN", "IP4"]:
            raise SdpError(f"not an IPv4 connection line: {value!r}")
        section["c"] = parts[2].partition("/")[0]
    elif kind == "a" and value in DIRECTIONS:
        section["a"] = value
    elif kind == "a" and value.startswith("crypto:") and value.split()[1:2] == [SUITE]:
        if len(value.split()) < 3:
            raise SdpError(f"not a key: {value.split()[0]!r}")
        section.setdefault("crypto", value.removeprefix("crypto:"))
