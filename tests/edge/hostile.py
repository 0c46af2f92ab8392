"""What a stranger sends, as a process of its own in the phones' namespace. Each mode prints one line of JSON.

    python tests/edge/hostile.py datagrams SOURCE TARGET:PORT RATE SECONDS FILE...
    python tests/edge/hostile.py streams SOURCE TARGET:PORT CONNECTIONS SECONDS FILE...
    python tests/edge/hostile.py idle SOURCE TARGET:PORT CONNECTIONS SECONDS
    python tests/edge/hostile.py each SOURCE TARGET:PORT SECONDS TRANSPORT FILE...
    python tests/edge/hostile.py guess SOURCE TARGET:PORT TRIES REALM USER:PASSWORD@HOST USER:PASSWORD@HOST

Port 5061 is TLS. FILEs hold messages; UNIQUE in one becomes another number each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

TLS_PORT = 5061
ANSWERS = re.compile(rb"SIP/2\.0 ([1-6]\d\d) ")

UNVERIFIED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
UNVERIFIED.check_hostname, UNVERIFIED.verify_mode = False, ssl.CERT_NONE

Address = tuple[str, int]


def unique(message: bytes, number: int) -> bytes:
    return message.replace(b"UNIQUE", b"%d.%d" % (time.time_ns(), number))


def datagrams(source: str, target: Address, rate: float, seconds: float, messages: list[bytes]) -> dict[str, int]:
    """As many as `rate` a second, without waiting for an answer. `source`: addresses with commas between, in turn."""
    outs = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in source.split(",")]
    for out, address in zip(outs, source.split(","), strict=True):
        out.bind((address, 0))
    began, sent = time.monotonic(), 0
    while (now := time.monotonic()) < began + seconds:
        while sent < (now - began) * rate:
            outs[sent % len(outs)].sendto(unique(messages[sent % len(messages)], sent), target)
            sent += 1
        time.sleep(0.002)
    return {"sent": sent}


async def connected(source: str, target: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = UNVERIFIED if target[1] == TLS_PORT else None
    async with asyncio.timeout(10):
        return await asyncio.open_connection(*target, ssl=context, local_addr=(source, 0))


async def streams(source: str, target: Address, count: int, seconds: float, messages: list[bytes]) -> dict[str, int]:
    """`count` connections at a time. On each ten messages are sent as fast as they are answered, or for as long as the
    server reads on; then another one is made."""
    counts = {"connections": 0, "refused": 0, "sent": 0, "answered": 0}
    until = time.monotonic() + seconds

    async def one() -> None:
        while time.monotonic() < until:
            try:
                reader, writer = await connected(source, target)
            except (OSError, TimeoutError):
                counts["refused"] += 1
                await asyncio.sleep(0.1)
                continue
            counts["connections"] += 1
            with contextlib.suppress(OSError, TimeoutError):
                for number in range(10):
                    message = unique(messages[number % len(messages)], counts["sent"])
                    writer.write(message.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
                    counts["sent"] += 1
                    async with asyncio.timeout(1):
                        if not await reader.read(65536):
                            break
                    counts["answered"] += 1
            writer.close()

    await asyncio.gather(*(one() for _ in range(count)))
    return counts


async def idle(source: str, target: Address, count: int, seconds: float) -> dict[str, int]:
    """As many connections as are let in, up to `count`, which say nothing."""
    held: list[asyncio.StreamWriter] = []
    began, refused = time.monotonic(), 0

    async def some(number: int) -> None:
        nonlocal refused
        for _ in range(number):
            if time.monotonic() > began + seconds:
                return
            try:
                held.append((await connected(source, target))[1])
            except (OSError, TimeoutError):
                refused += 1

    await asyncio.gather(*(some(count // 20) for _ in range(20)))
    open_after = round(1000 * (time.monotonic() - began))
    await asyncio.sleep(max(0.0, seconds - (time.monotonic() - began)))
    for writer in held:
        writer.close()
    return {"opened": len(held), "refused": refused, "milliseconds": open_after}


def each_datagram(source: str, target: Address, seconds: float, message: bytes) -> str:
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.bind((source, 0))
    out.settimeout(seconds)
    out.sendto(message, target)
    return _code(lambda: out.recv(65536))


def each_stream(source: str, target: Address, seconds: float, message: bytes) -> str:
    with socket.create_connection(target, 5, source_address=(source, 0)) as plain:
        plain.settimeout(5)
        out: socket.socket = plain
        if target[1] == TLS_PORT:
            out = UNVERIFIED.wrap_socket(plain)
        out.sendall(message.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP", 1))
        out.settimeout(seconds)
        return _code(lambda: out.recv(65536))


def _code(receive: Callable[[], bytes]) -> str:
    """The final answer's code, else what happened instead."""
    try:
        while data := receive():
            codes = [code.decode() for code in ANSWERS.findall(data)]
            if final := [code for code in codes if code >= "200"]:
                return final[-1]
    except TimeoutError:
        return "silence"
    except OSError:
        return "closed"
    return "closed"


def ask_for_contacts(out: socket.socket, source: str, target: Address, realm: str, who: str, number: int) -> str:
    """REGISTER without a contact, which asks for the known ones (RFC 3261, 10.2.3), with a digest (RFC 2617) of
    `who`, USER:PASSWORD@HOST. Returns the code of the answer."""
    account, _, host = who.rpartition("@")
    user, _, password = account.partition(":")

    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    def register(sequence: int, *more: str) -> bytes:
        lines = (
            f"REGISTER sip:{host} SIP/2.0",
            f"Via: SIP/2.0/UDP {source};rport;branch=z9hG4bKguess{number}.{sequence}",
            "Max-Forwards: 70",
            f"From: <sip:{user}@{host}>;tag=guess",
            f"To: <sip:{user}@{host}>",
            f"Call-ID: guess.{number}.{time.time_ns()}@{source}",
            f"CSeq: {sequence} REGISTER",
            *more,
            "Content-Length: 0",
        )
        out.sendto(("\r\n".join(lines) + "\r\n\r\n").encode(), target)
        return out.recv(65536)

    try:
        nonce = re.search(rb'nonce="([^"]+)"', register(1))
        if nonce is None:
            return "403"
        given = nonce[1].decode()
        response = md5(f"{md5(f'{user}:{realm}:{password}')}:{given}:{md5(f'REGISTER:sip:{host}')}")
        fields = {"username": user, "realm": realm, "nonce": given, "uri": f"sip:{host}", "response": response}
        digest = ", ".join(f'{name}="{value}"' for name, value in fields.items())
        return _code(lambda: register(2, f"Authorization: Digest {digest}"))
    except TimeoutError:
        return "silence"


def guess(source: str, target: Address, tries: int, realm: str, wrong: str, right: str) -> dict[str, object]:
    """A phone with a wrong password, and afterwards another one at the same address with a right one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.bind((source, 0))
        out.settimeout(1)
        codes = Counter(ask_for_contacts(out, source, target, realm, wrong, number) for number in range(tries))
        return {"wrong": dict(codes), "right": ask_for_contacts(out, source, target, realm, right, tries)}


def main() -> None:
    mode, source, where, *rest = sys.argv[1:]
    host, _, port = where.partition(":")
    target = (host, int(port))

    def messages(names: list[str]) -> list[bytes]:
        return [Path(name).read_bytes() for name in names]

    result: object
    match mode:
        case "datagrams":
            result = datagrams(source, target, float(rest[0]), float(rest[1]), messages(rest[2:]))
        case "streams":
            result = asyncio.run(streams(source, target, int(rest[0]), float(rest[1]), messages(rest[2:])))
        case "idle":
            result = asyncio.run(idle(source, target, int(rest[0]), float(rest[1])))
        case "guess":
            result = guess(source, target, int(rest[0]), *rest[1:4])
        case _:
            ask = each_datagram if rest[1] == "udp" else each_stream
            told = enumerate(messages(rest[2:]))
            result = [ask(source, target, float(rest[0]), unique(message, number)) for number, message in told]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
