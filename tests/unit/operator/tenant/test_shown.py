"""Which certificate the app's pods show, asked of real TLS servers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from support.tls import tls_server
from unit.operator.factory import AUTHORITY, NOW

from okitoki.kube.pki import KeyPair
from okitoki.kube.resources import Manifest
from okitoki.tenant.shown import ShownCertificates, tls_handshake

PAIR, OTHER = (AUTHORITY.issue(["app.tenant-acme.svc"], NOW) for _ in range(2))


def id_of(pair: KeyPair) -> str:
    leaf = AUTHORITY.leaf(pair)
    assert leaf is not None
    return leaf.id


def a_pod(name: str, phase: str = "Running", **metadata: Any) -> Manifest:
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", **metadata},
        "status": {"phase": phase, "podIP": f"ip-{name}"},
    }


async def test_a_handshake_tells_the_certificate(tmp_path: Path) -> None:
    async with tls_server(tmp_path, PAIR) as port:
        assert await tls_handshake("127.0.0.1", port) == id_of(PAIR)


async def test_nothing_listens_or_no_answer_comes() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    silent = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with silent:
        assert await tls_handshake("127.0.0.1", port) == ""
    assert await tls_handshake("127.0.0.1", port) is None


async def test_a_pod_is_asked_until_it_shows_what_it_was_given_and_then_no_more() -> None:
    shows, asked = {"ip-a": id_of(OTHER), "ip-b": id_of(PAIR)}, []

    async def handshake(address: str, port: int) -> str | None:
        asked.append(address)
        return shows[address]

    shown, pods = ShownCertificates(handshake), [a_pod("a"), a_pod("b")]
    assert await shown.of(pods, id_of(PAIR)) == {"a": id_of(OTHER), "b": id_of(PAIR)}
    shows["ip-a"] = id_of(PAIR)
    assert await shown.of(pods, id_of(PAIR)) == {"a": id_of(PAIR), "b": id_of(PAIR)}
    assert await shown.of(pods, id_of(PAIR)) == {"a": id_of(PAIR), "b": id_of(PAIR)}
    assert asked == ["ip-a", "ip-b", "ip-a"]


async def test_pods_that_show_nothing_are_not_waited_for_and_silent_ones_are() -> None:
    answers = {"ip-starts": None, "ip-frozen": ""}

    async def handshake(address: str, port: int) -> str | None:
        return answers[address]

    pods = [a_pod("starts"), a_pod("frozen"), a_pod("pending", "Pending"), a_pod("ends", deletionTimestamp="now")]
    assert await ShownCertificates(handshake).of(pods, id_of(PAIR)) == {"frozen": ""}
