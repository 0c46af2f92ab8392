"""Faults on the two-node lab while calls are up.

    PYTHONPATH=operator:agents:loadtests python tests/edge/drill.py --tree TREE --site SITE [--rounds N] [FAULT...]

TREE is a trixie root with the packages of images/edge/packages.txt, SITE a folder with the agents' Python packages for
its Python (`pip install --target`). A line for each drill: when the addresses moved, what both ends of the calls heard,
and how many call records both nodes have. Exit code 0 only if every call of every drill was completed and recorded.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from lab import ADDRESSES, REGION, SECRETS, Lab, Node, argument_parser, judged, parse, session, wait_until
from phones import ENCRYPTED, NUMBER, TENANT, Phones, summary

from okitoki.kube.tunnel_keys import tunnel_pair
from okitoki_agents.edge.guard.main import REFRESH_EVERY
from okitoki_phones.judge import COMPLETED

KILL, STOP, CONT = signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT

# By the node itself: a busy machine lets the drill wait.
_STOP_BOTH = """
signal() { pkill "-$1" --session "$(cat "/run/edge/pid/$2")"; }
signal STOP guard; signal STOP keepalived; sleep 4; signal CONT guard; sleep 2; signal CONT keepalived
"""
_FREEZE_BOTH = "kill -STOP -1; sleep 4; kill -CONT -1"
WIREGUARD = str(REGION["tunnel"]["interface"])
_DEAF = "table netdev deaf { chain in { type filter hook ingress device eth0 priority -500; policy drop; }; }"


def redis(node: Node, *command: str, database: int = 0) -> str:
    """A command to a node's Redis; database 0 has the calls, 1 and 2 what the engines know of them."""
    options = (
        "-h",
        node.address,
        "-p",
        "16379",
        "--no-auth-warning",
        "-a",
        SECRETS["REDIS_PASSWORD"],
        "-n",
        str(database),
    )
    return node.run("redis-cli", *options, *command)


def records(node: Node) -> dict[str, set[str]]:
    """Key of each call -> the names of its fields."""
    return {key: set(redis(node, "HKEYS", key).split()) for key in redis(node, "KEYS", "call:*").split()}


_PING = """
import asyncio, os, sys
from okitoki_agents.edge import facts, resp
here = facts.load(os.environ)
address = (here.region.peer_alias, here.region.ports.redis)
sys.exit(0 if asyncio.run(resp.answers(address, here.redis_password, "PING", seconds=0.4)) else 1)
"""


def answers(node: Node) -> bool:
    """Whether the peer's Redis answers this node, asked as an engine asks it."""
    return node.succeeds("python3", "-c", _PING)


class Drills:
    """Each fault is a method `f_NAME` that does it and returns what it saw."""

    def __init__(self, lab: Lab, encrypted: str = "no", rolled_over: int = 0) -> None:
        self.lab, self.encrypted, self.rolled_over = lab, encrypted, rolled_over
        self.wrong: list[str] = []
        """What a fault did that it must not."""

    def holder(self, name: str = "sip") -> Node:
        return next(node for node in self.lab.nodes if name in node.holds())

    def other(self, node: Node) -> Node:
        return self.lab.b if node is self.lab.a else self.lab.a

    def moved(self, node: Node, names: set[str], began: float) -> str:
        """Watch `names` go from `node` to the other one, for at most 10 s."""
        times: dict[str, float] = {}
        while len(times) < 2 and time.monotonic() - began < 10:
            here, there = node.holds() & names, self.other(node).holds() & names
            now = 1000 * (time.monotonic() - began)
            if there == names:
                times.setdefault("there after", now)
            if not here:
                times.setdefault("gone after", now)
        return f"{node.name} {sorted(names)} " + ", ".join(f"{what} {ms:.0f} ms" for what, ms in sorted(times.items()))

    def fault(self, node: Node, names: set[str], action: Callable[[], None]) -> str:
        began = time.monotonic()
        action()
        return self.moved(node, names, began)

    def f_none(self) -> str:
        return ""

    def f_engine(self) -> str:
        node = self.holder("media-1")
        return self.fault(node, {"media-1"}, lambda: node.send("rtpengine-1", KILL))

    def f_kamailio(self) -> str:
        node = self.holder()
        return self.fault(node, {"sip"}, lambda: node.send("kamailio", KILL))

    def f_keepalived(self) -> str:
        node = self.holder()
        return self.fault(node, node.holds(), lambda: node.send("keepalived", KILL))

    def f_guard(self) -> str:
        node, before = self.holder(), self.holder().holds()
        node.send("guard", KILL)
        old = node.pid("guard")
        wait_until("another guard", lambda: node.pid("guard") != old and node.good())
        time.sleep(4)  # longer than a lease
        return f"{node.name} {sorted(before)}, then {sorted(node.holds())}"

    def f_redis(self) -> str:
        return self._redis(self.holder())

    def f_redis_peer(self) -> str:
        return self._redis(self.other(self.holder()))

    def _redis(self, node: Node) -> str:
        old = node.pid("redis")
        node.send("redis", KILL)
        wait_until("another Redis", lambda: node.pid("redis") != old and node.good())
        return node.name

    def f_all(self) -> str:
        """The pod is gone without a word."""
        node = self.holder()
        return self.fault(node, node.holds(), node.kill)

    def f_cut(self) -> str:
        """The node is gone: its link first, then everything on it."""
        node = self.holder()

        def cut() -> None:
            node.link(False)
            node.kill()

        seen = self.fault(node, node.holds(), cut)
        node.link(True)
        return seen

    def f_service(self) -> str:
        """The node is to be serviced: everything moves off it in good order, and nothing comes back when that ends."""
        node = self.holder()
        left = node.base / "run" / "left"

        def leave(names: set[str], seconds: float) -> None:
            # What the agent, which the lab does not run, says once a second.
            for _ in range(round(seconds)):
                left.write_text(" ".join(sorted(names)))
                time.sleep(1)

        agent = threading.Thread(target=leave, args=(set(ADDRESSES), 12))
        seen = self.fault(node, node.holds(), agent.start)
        agent.join()
        freed = not node.holds() and node.good()
        leave(set(), 6)
        return f"{seen}; {'free and well' if freed else 'NOT FREE'}, afterwards it holds {sorted(node.holds())}"

    def f_freeze(self) -> str:
        node = self.holder()
        seen = self.fault(node, node.holds(), lambda: node.everything(STOP))
        time.sleep(5)
        node.everything(CONT)
        return seen

    def f_nobody(self) -> str:
        """Both nodes' guards get no processor for longer than a lease, keepalived for longer still: every address is
        on no node, and each guard has time to conclude that its calls are the other's."""
        return self._both(_STOP_BOTH)

    def f_both_frozen(self) -> str:
        """Every process of both nodes, for longer than a lease."""
        return self._both(_FREEZE_BOTH)

    def _both(self, script: str) -> str:
        """Until `script` has ended on both nodes and some address is back."""
        began, none, last = time.monotonic(), 0.0, time.monotonic()
        stopping = [subprocess.Popen(node.command("sh", "-c", script)) for node in self.lab.nodes]
        while any(process.poll() is None for process in stopping) or not self.lab.a.holds() | self.lab.b.holds():
            held, now = self.lab.a.holds() | self.lab.b.holds(), time.monotonic()
            none += 0.0 if "media-1" in held else now - last
            last = now
            time.sleep(0.02)
        for node in self.lab.nodes:
            node.wake()
        lasted, whole = time.monotonic() - began, self.lab.wait_good(30)
        return f"{lasted:.1f} s, media-1 on no node for {1000 * none:.0f} ms; whole {whole:.1f} s later"

    def f_back(self) -> str:
        """The same calls to the other node and back."""
        first = self.f_all()
        self.revive()
        return f"{first}; {self.f_all()}"

    def f_drain(self) -> str:
        node = self.holder()
        seen = self.fault(
            node, node.holds(), lambda: (node.run("python3", "-m", "okitoki_agents.edge", "drain"), None)[1]
        )
        node.send("guard", KILL)
        return seen

    def f_deaf(self) -> str:
        """The node with the SIP address can send and hears nobody."""
        return self._deaf(self.holder())

    def f_deaf_standby(self) -> str:
        """The other node hears nobody: it must not announce what it has no right to for long."""
        node = self.other(self.holder())
        self.fault(node, node.holds(), lambda: node.run("python3", "-m", "okitoki_agents.edge", "drain"))
        node.send("guard", KILL)
        self.lab.wait_good(60)
        # Until its new guard has seen the peer, without which a node keeps what nobody else could have.
        time.sleep(3)
        return self._deaf(node)

    def _deaf(self, node: Node) -> str:
        """What comes in is dropped at the device for 8 s: until when the node had addresses, the peer lacked some."""
        began = time.monotonic()
        had, claimed, peer_lacks = node.holds(), 0.0, 0.0
        node.run("nft", _DEAF)
        try:
            while (now := time.monotonic() - began) < 8:
                here, there = node.holds(), self.other(node).holds()
                claimed, peer_lacks = now if here else claimed, now if there != set(ADDRESSES) else peer_lacks
                time.sleep(0.02)
        finally:
            node.run("nft", "delete table netdev deaf", check=False)
        words = f"had {sorted(had)}, had some until {1000 * claimed:.0f} ms, the peer lacked some until "
        words += f"{1000 * peer_lacks:.0f} ms, at the end {sorted(here)} and {sorted(there)}"
        seen = f"{node.name} deaf for 8 s: {words}"
        return f"{seen}; whole again {self.lab.wait_good(30):.1f} s after it"

    def f_stop_engine(self) -> str:
        node = self.holder("media-1")
        return self.fault(node, {"media-1"}, lambda: node.send("rtpengine-1", STOP))

    def f_tunnel(self) -> str:
        """The tunnel's supervisor is killed where the SIP address is, and wireguard-go with it."""
        node = self.holder()
        return self._tunnel(node, lambda: node.send("tunnel", KILL))

    def f_tunnel_peer(self) -> str:
        node = self.other(self.holder())
        return self._tunnel(node, lambda: node.send("tunnel", KILL))

    def f_wireguard(self) -> str:
        """wireguard-go alone is killed."""
        node = self.holder()
        return self._tunnel(node, lambda: (node.run("pkill", "-KILL", "-x", "wireguard-go"), None)[1])

    def f_stop_wireguard(self) -> str:
        """wireguard-go alone is frozen."""
        node = self.holder()
        return self._tunnel(node, lambda: (node.run("pkill", "-STOP", "-x", "wireguard-go"), None)[1])

    def f_stop_tunnel(self) -> str:
        """Supervisor and wireguard-go are frozen."""
        node = self.holder()

        def stop() -> None:
            node.send("tunnel", STOP)
            node.run("pkill", "-STOP", "-x", "wireguard-go")
            # The guard has ended it by then; nsenter, which stops with its child, would not see that. (Nor is it woken
            # sooner: it would let the child go on.)
            time.sleep(1.5)
            node.wake()

        return self._tunnel(node, stop)

    def f_tunnel_deleted(self) -> str:
        """Somebody deletes the interface."""
        node = self.holder()
        return self._tunnel(node, lambda: (node.run("ip", "link", "delete", WIREGUARD), None)[1])

    def f_tunnel_keys(self) -> str:
        """Both ends get new keys, one a second after the other."""
        node = self.holder()

        def renew() -> None:
            self.lab.tunnel_keys = [tunnel_pair(), tunnel_pair()]
            node.give_tunnel_keys()
            time.sleep(1)
            self.other(node).give_tunnel_keys()

        return self._tunnel(node, renew)

    def f_plain(self) -> str:
        """As in an upgrade and one taken back: the nodes go from the tunnel to their network, and back after 5 s."""
        node = self.holder()

        def switch() -> None:
            for one in self.lab.nodes:
                (one.data / "plain-peer").write_bytes((one.data / "peer").read_bytes())
            time.sleep(5)
            for one in self.lab.nodes:
                (one.data / "plain-peer").unlink()

        return self._tunnel(node, switch)

    def _tunnel(self, node: Node, action: Callable[[], None]) -> str:
        """Nothing may move. How long the peer's Redis, asked as an engine asks it, did not answer, and how long the
        guard said that the tunnel is not as it must be."""
        before = {one.name: one.holds() for one in self.lab.nodes}
        began, away, told = time.monotonic(), 0.0, (0.0, 0.0)
        action()
        while time.monotonic() - began < 9:
            if not answers(node):
                away = time.monotonic() - began
            now = time.monotonic() - began
            if node.status()["services"]["tunnel"] != "ok":
                told = (told[0] or now, now)
            if {one.name: one.holds() for one in self.lab.nodes} != before:
                self.wrong.append("an address moved")
            time.sleep(0.02)
        if node.status()["services"]["tunnel"] != "ok" or not answers(node):
            self.wrong.append("the tunnel is not back")
        times = (
            f"peer's Redis away until {1000 * away:.0f} ms, told from {1000 * told[0]:.0f} to {1000 * told[1]:.0f} ms"
        )
        return f"{node.name}: {times}"

    def revive(self) -> None:
        """Start what was killed and wait for the pair to be whole."""
        for node in self.lab.nodes:
            node.revive()
        self.lab.wait_good(60)

    def run(self, name: str, out: Path, count: int, short: bool) -> bool:
        for node in self.lab.nodes:
            redis(node, "FLUSHDB")
        phones = Phones(self.lab, out, count)
        phones.encrypt(self.encrypted, self.rolled_over)
        stream = {"number": NUMBER, "tenant": TENANT, "everySeconds": 0.3, "talkSeconds": [1.0, 2.0]}
        try:
            phones.publish()
            phones.register()
            phones.call(short=[stream] if short else [], long=not short)
            wait_until("calls to be answered", lambda: len(records(self.holder())) >= min(count, 5), 30)
            time.sleep(3 if not self.rolled_over else REFRESH_EVERY + 3)
            seen = getattr(self, f"f_{name}")()
            # Longer than the silence that makes a call a dropped one.
            time.sleep(3 if self.encrypted == "no" else 6)
            verdicts = phones.finish()
        finally:
            phones.close()
        self.revive()
        kept: Mapping[str, set[str]] = {}
        for node in self.lab.nodes:
            kept = {key: kept.get(key, set()) | fields for key, fields in records(node).items()} | {
                key: fields for key, fields in kept.items() if key not in records(node)
            }
        whole = sum({"answered", "ended", "started", "agent"} <= fields for fields in kept.values())
        good = all(verdict.outcome == COMPLETED for verdict in verdicts) and whole == len(verdicts)
        good = good and phones.encrypted_as_told() and not self.wrong
        seen, self.wrong = " ".join([seen, *sorted(set(self.wrong))]), []
        left = sum(int(redis(node, "DBSIZE", database=n)) for node in self.lab.nodes for n in (1, 2))
        kept_calls = f"{whole} whole records, {left} calls left in the engines' databases"
        return judged(name, f"{seen} | {summary(verdicts)} | {kept_calls}", good)


def main() -> int:
    faults = sorted(name.removeprefix("f_") for name in vars(Drills) if name.startswith("f_"))
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--encrypted", choices=ENCRYPTED, default="no", help="phones with TLS and SRTP; carrier too")
    parser.add_argument("--rolled-over", type=int, default=0, help="how often calls' sequence numbers began anew")
    parser.add_argument("--short", action="store_true", help="a stream of short calls instead of long ones")
    options = parse(parser, "fault", faults)
    with session(options.tree, options.site, options.keep) as lab:
        print(f"both nodes good after {lab.wait_good(60):.1f} s; addresses {sorted(ADDRESSES)}", flush=True)
        drills = Drills(lab, options.encrypted, options.rolled_over)
        rounds = [(number, name) for number in range(options.rounds) for name in options.chosen]
        results = [drills.run(n, lab.work / "calls" / f"{r}-{n}", options.calls, options.short) for r, n in rounds]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
