"""What a stranger on the nodes' network reads of SRTP's keys, and that the check would find them.

    PYTHONPATH=operator:agents:loadtests python tests/edge/clear.py --tree TREE --site SITE [CASE...]

Every frame on both nodes' links is recorded while encrypted calls come, go on, move to the other node and end. The keys
are those that the phones offered and got, as the relays' Redis has them and as SDP has them (RFC 4568). A line for each
CASE. Exit code 0 only if each was as it must be.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from cases import run_cases
from drill import WIREGUARD, Drills, records, redis
from lab import Lab, Node, sh, wait_until
from phones import Phones, summary

from okitoki_phones.judge import COMPLETED

CALLS = 8
_ALL = 3
"""ETH_P_ALL (linux/if_ether.h)."""
_OFFERED = b" inline:"
"""Before a key in SDP (RFC 4568, 9.2)."""
_CLONE_NEWNET = 0x40000000


class Wire:
    """Frames that pass the nodes' ports of the bridge, each way, less the phones' own (which may have keys only inside
    TLS, and are no part of this)."""

    def __init__(self, lab: Lab) -> None:
        self.frames: list[bytes] = []
        self._lab = lab
        self._ends = False
        self._sockets: list[socket.socket] = []

    def _open(self) -> None:
        """Sockets stay in the namespace in which they were made, so a thread of its own may go there for good."""
        import ctypes

        with open("/run/netns/vc-sw") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        for node in self._lab.nodes:
            plug = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
            plug.bind((f"vc-{node.name}p", 0))
            plug.settimeout(0.2)
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
            self._sockets.append(plug)

    def _read(self, plug: socket.socket) -> None:
        while not self._ends:
            with contextlib.suppress(TimeoutError):
                self.frames.append(plug.recv(1 << 16))

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        opener = threading.Thread(target=self._open)
        opener.start()
        opener.join()
        readers = [threading.Thread(target=self._read, args=(plug,)) for plug in self._sockets]
        for reader in readers:
            reader.start()
        try:
            yield
        finally:
            self._ends = True
            for reader in readers:
                reader.join()
            for plug in self._sockets:
                plug.close()

    def between_nodes(self) -> list[bytes]:
        """IPv4 frames from one node's network card to the other's."""
        cards = {bytes.fromhex(_card(node).replace(":", "")) for node in self._lab.nodes}
        return [frame for frame in self.frames if frame[:6] in cards and frame[6:12] in cards]


def _card(node: Node) -> str:
    return str(json.loads(sh("ip", "-n", node.netns, "-j", "link", "show", "dev", "eth0"))[0]["address"])


def keys_of(node: Node) -> set[bytes]:
    """Master keys, and keys with salts, of all calls that a node's relays own: as bytes, and as they may be written."""
    found: set[bytes] = set()
    for database in (1, 2):
        for call in redis(node, "KEYS", "*", database=database).split():
            document = redis(node, "GET", call, database=database)
            pairs = re.findall(r'"([^"]*)-master_key":"([^"]+)"', document)
            salts = dict(re.findall(r'"([^"]*)-master_salt":"([^"]+)"', document))
            for name, text in pairs:
                key, salt = _raw(text), _raw(salts.get(name, ""))
                found |= {key, text.encode(), base64.b64encode(key + salt).rstrip(b"=")}
    return {key for key in found if len(key) >= 16}


def _raw(text: str) -> bytes:
    """Bytes as rtpengine writes them into JSON: in URL encoding."""
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(text)


class Clear:
    """Each case is a method `c_NAME`; it returns what it saw and whether that is right."""

    def __init__(self, lab: Lab, out: Path) -> None:
        self.lab, self.out = lab, out
        self.drills = Drills(lab)

    def _watched(self, name: str, in_between: Callable[[], str]) -> tuple[str, int, set[str], bool]:
        """Encrypted calls under a recording: what was seen, how many keys there were, what kinds of frames had one, and
        whether the calls went on."""
        self._spread()
        for node in self.lab.nodes:
            redis(node, "FLUSHDB")
        phones = Phones(self.lab, self.out / name, CALLS)
        phones.encrypt("both")
        wire, keys = Wire(self.lab), set[bytes]()
        try:
            phones.publish()
            with wire.recorded():
                phones.register()
                phones.call()
                wait_until("calls to be answered", lambda: len(records(self.drills.holder())) >= CALLS, 30)
                time.sleep(3)
                for node in self.lab.nodes:
                    keys |= keys_of(node)
                seen = in_between()
                time.sleep(6)
                verdicts = phones.finish()
        finally:
            phones.close()
        frames = wire.between_nodes()
        told = Counter(_what(frame) for frame in frames)
        bad = [frame for frame in frames if _OFFERED in frame or any(key in frame for key in keys)]
        good = all(verdict.outcome == COMPLETED for verdict in verdicts) and phones.encrypted_as_told()
        words = f"{seen} | {len(keys)} keys, {len(frames)} frames between the nodes {dict(told)}, keys in {len(bad)} "
        words += f"{dict(Counter(_what(frame) for frame in bad))} | {summary(verdicts)}"
        return words, len(keys), {_what(frame) for frame in bad}, good

    def _spread(self) -> None:
        """See that the node with the SIP address has a relay on the other one to command."""
        node = self.drills.holder()
        while {"media-1", "media-2"} <= node.holds():
            (node.base / "run" / "left").write_text("media-2")
            time.sleep(0.5)
        time.sleep(6)

    def c_tunnel(self) -> tuple[str, bool]:
        """Through the tunnel: calls come, move to the other node and end, and nobody reads a key."""
        seen, keys, bad, calls_good = self._watched("tunnel", self.drills.f_all)
        self.drills.revive()
        return seen, keys > 0 and not bad and calls_good

    def c_control(self) -> tuple[str, bool]:
        """The same without a tunnel, as between an edge with one and an older one: the check finds the keys."""
        for node in self.lab.nodes:
            (node.data / "plain-peer").write_bytes((node.data / "peer").read_bytes())
        try:
            wait_until("the rules to go", lambda: all("lookup" not in self._rules(node) for node in self.lab.nodes))
            time.sleep(3)
            seen, keys, bad, calls_good = self._watched("control", lambda: "no fault")
        finally:
            for node in self.lab.nodes:
                (node.data / "plain-peer").unlink()
        wait_until("the rules to come", lambda: all("lookup" in self._rules(node) for node in self.lab.nodes))
        return seen, keys > 0 and {"tcp 16379", "udp 2223"} <= {
            kind.replace("2224", "2223") for kind in bad
        } and calls_good

    def _rules(self, node: Node) -> str:
        return node.run("ip", "rule", "show", "priority", "20500")

    def c_torn(self) -> tuple[str, bool]:
        """The tunnel is torn down on both nodes again and again while calls come and go: nothing goes past it."""

        def tear() -> str:
            for _ in range(5):
                for node in self.lab.nodes:
                    node.run("ip", "link", "delete", WIREGUARD, check=False)
                    node.send("tunnel", signal.SIGKILL)
                time.sleep(2.5)
            return "torn 5 times"

        seen, keys, bad, calls_good = self._watched("torn", tear)
        return seen, keys > 0 and not bad and calls_good


def _what(frame: bytes) -> str:
    """Protocol and lower port, which is the server's."""
    if frame[12:14] != b"\x08\x00":
        return frame[12:14].hex()
    protocol, at = frame[23], 14 + 4 * (frame[14] & 15)
    name = {6: "tcp", 17: "udp", 112: "vrrp", 1: "icmp"}.get(protocol, str(protocol))
    if protocol not in (6, 17) or (frame[20:22] != b"\x40\x00" and frame[20:22] != b"\x00\x00"):
        return name
    ports = int.from_bytes(frame[at : at + 2]), int.from_bytes(frame[at + 2 : at + 4])
    known = [port for port in ports if port in (2223, 2224, 5070, 9780, 16379, 51840)]
    return f"{name} {known[0]}" if known else name


if __name__ == "__main__":
    sys.exit(run_cases(__doc__, Clear))
