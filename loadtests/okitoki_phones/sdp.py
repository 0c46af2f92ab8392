"""Session descriptions for one G.711 A-law stream (RFC 4566 and RFC 3264, no more than a phone needs)."""

from __future__ import annotations

from dataclasses import dataclass

PAYLOAD_TYPE = 8
MIME = "application/sdp"
DIRECTIONS = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


class SdpError(ValueError):
    """The description offers nothing that this phone can play, or is not one."""


@dataclass(frozen=True, slots=True)
class Description:
    """Where one side wants its audio, and which way it flows as that side sees it."""

    host: str
    port: int
    direction: str = "sendrecv"

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
        f"m=audio {description.port} RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} PCMA/8000",
        "a=ptime:20",
        f"a={description.direction}",
    ]
    return "".join(f"{line}\r\n" for line in lines).encode()


def parse(body: bytes) -> Description:
    """Read the audio stream of a description. A line of the stream outweighs one of the session."""
    session: dict[str, str] = {}
    audio: dict[str, str] = {}
    media = ""
    port, formats = 0, [""]
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
                port, formats = int(rest[0].partition("/")[0]), rest[2:]
        elif media in {"", "audio"}:
            _note(audio if media else session, kind, value)
    address = audio.get("c") or session.get("c")
    if address is None or not port:
        raise SdpError("no audio stream with an address and a port")
    if str(PAYLOAD_TYPE) not in formats:
        raise SdpError(f"the audio stream does not offer G.711 A-law: {' '.join(formats)}")
    return Description(address, port, audio.get("a") or session.get("a") or "sendrecv")


def _note(section: dict[str, str], kind: str, value: str) -> None:
    if kind == "c":
        parts = value.split()
        if len(parts) != 3 or parts[:2] != ["IN", "IP4"]:
            raise SdpError(f"not an IPv4 connection line: {value!r}")
        section["c"] = parts[2].partition("/")[0]
    elif kind == "a" and value in DIRECTIONS:
        section["a"] = value
