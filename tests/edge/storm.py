"""Storms of address flaps on the two-node lab: dozens of short faults while calls are set up, talk and end.

    PYTHONPATH=operator:agents:loadtests python tests/edge/storm.py \\
        --tree TREE --site SITE [--seed N] [--storms N] [KIND...]

Each KIND lasts less than a takeover or little more, so an address moves and comes back, or both nodes hold it for a
moment. The moments, kinds and lengths follow from the seed. After the last one the standby's knowledge is put to the
test: the node with most addresses is killed whole. Every call is judged packet by packet. Exit code 0 only if no
established call was dropped, no packet reached another call, and both nodes came to know the same calls.
"""

from __future__ import annotations

import contextlib
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from drill import records
from lab import ADDRESSES, Lab, Node, argument_parser, in_cgroup, parse, session, wait_until
from phones import NUMBER, TENANT, Phones, summary

from okitoki_phones.judge import DROPPED, FAILED

STOP, CONT = signal.SIGSTOP, signal.SIGCONT
HOGS = 24
"""Busy loops, as nice as the edge's own processes."""
SETTLED_SECONDS = 8.0
"""After a storm the standby must know every call again within this."""

_MUTE = "table ip storm { chain out { type filter hook output priority -200; ip protocol vrrp drop; }; }"
_SESSIONS = """
import asyncio
from okitoki_agents.edge.agent import media
for port in (9901, 9902):
    counts = asyncio.run(media.sessions(port))
    print(counts.own, counts.foreign)
"""


class Watch:
    """Samples which node holds what, and adds up how long each address was on both nodes or on none."""

    def __init__(self, lab: Lab) -> None:
        self._lab, self._stop = lab, threading.Event()
        self.both: Counter[str] = Counter()
        self.none: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(0.05):
            a, b = self._lab.a.holds(), self._lab.b.holds()
            now = time.monotonic()
            for name in ADDRESSES:
                self.both[name] += (name in a and name in b) * int(1000 * (now - last))
                self.none[name] += (name not in a and name not in b) * int(1000 * (now - last))
            last = now


class Storm:
    """One storm at a time. Each kind of flap is a method `f_NAME` that makes it and undoes it."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab, self.random = lab, random.Random(seed)

    def _length(self, least: float, most: float) -> float:
        return self.random.uniform(least, most)

    @contextlib.contextmanager
    def _mute(self, *nodes: Node) -> Iterator[None]:
        """`nodes` send no adverts."""
        try:
            for node in nodes:
                node.run("nft", _MUTE)
            yield
        finally:
            for node in nodes:
                node.run("nft", "delete table ip storm", check=False)

    @contextlib.contextmanager
    def _stopped(self, node: Node, *names: str) -> Iterator[None]:
        """Containers of `node`, with their children, do not run."""
        groups = ["--session", ",".join(str(node.pid(name)) for name in names)]
        try:
            node.run("pkill", "-STOP", *groups)
            yield
        finally:
            node.run("pkill", "-CONT", *groups, check=False)
            node.wake()

    def _node(self) -> Node:
        return self.random.choice(self.lab.nodes)

    def f_mute_one(self) -> None:
        with self._mute(self._node()):
            time.sleep(self._length(0.3, 0.8))

    def f_mute_both(self) -> None:
        with self._mute(*self.lab.nodes):
            time.sleep(self._length(0.3, 0.8))

    def f_stop_keepalived(self) -> None:
        with self._stopped(self._node(), "keepalived"):
            time.sleep(self._length(0.3, 1.0))

    def f_stop_guard(self) -> None:
        with self._stopped(self._node(), "guard"):
            time.sleep(self._length(0.3, 1.0))

    def f_stop_engine(self) -> None:
        with self._stopped(self._node(), self.random.choice(("rtpengine-1", "rtpengine-2"))):
            time.sleep(self._length(0.2, 1.0))

    def f_stop_redis(self) -> None:
        with self._stopped(self._node(), "redis"):
            time.sleep(self._length(0.2, 1.0))

    def f_stop_node(self) -> None:
        """Everything that keeps addresses, at the same moment: a node that gets no processor for a while."""
        with self._stopped(self._node(), "keepalived", "guard", "redis", "rtpengine-1", "rtpengine-2", "kamailio"):
            time.sleep(self._length(0.3, 1.0))

    def f_starve(self) -> None:
        """Both nodes and the phones compete with busy loops of the same weight."""
        length = f"{self._length(0.5, 1.5):.2f}"
        command = in_cgroup("nice", "-n", "-19", "timeout", length, "sh", "-c", "while :; do :; done")
        for hog in [subprocess.Popen(command) for _ in range(HOGS)]:
            hog.wait()

    def run(self, kinds: list[str], flaps: int, out: Path, count: int) -> bool:
        phones = Phones(self.lab, out, count, spare=14)
        stream = {"number": NUMBER, "tenant": TENANT, "everySeconds": 0.5, "talkSeconds": [0.5, 3.0]}
        moves, seen = self._moves(), Counter[str]()
        began = time.monotonic()
        try:
            phones.publish()
            phones.register()
            phones.call(short=[stream], long=True)
            wait_until("calls to be answered", lambda: len(records(self.lab.a)) >= count, 30)
            with Watch(self.lab) as watch:
                for _ in range(flaps):
                    kind = self.random.choice(kinds)
                    seen[kind] += 1
                    flap: Callable[[], None] = getattr(self, f"f_{kind}")
                    flap()
                    time.sleep(self._length(0.3, 2.5))
            moves = self._moves() - moves
            told = self._settle()
            self._kill_the_busier()
            time.sleep(3)
            verdicts = phones.finish()
        finally:
            phones.close()
        time.sleep(2)
        left = self._left()
        for node in self.lab.nodes:
            node.revive()
        self.lab.wait_good(60)
        dropped = [verdict for verdict in verdicts if verdict.outcome == DROPPED]
        ways = [way for verdict in verdicts for way in (verdict.to_agent, verdict.to_caller) if way]
        foreign = sum(way.foreign for way in ways)
        good = not dropped and foreign == 0 and told is not None
        for verdict in verdicts:
            if verdict.outcome != "completed" or any(
                way.foreign for way in (verdict.to_agent, verdict.to_caller) if way
            ):
                print(f"     {verdict.outcome} {verdict.kind} {verdict.call_id}: {verdict.reason} {verdict.problems}")
        failed = sum(verdict.outcome == FAILED for verdict in verdicts)
        told_words = "never" if told is None else f"{told:.1f} s"
        print(
            f"{'ok  ' if good else 'FAIL'} {dict(sorted(seen.items()))} in {time.monotonic() - began:.0f} s: "
            f"{moves} addresses came, ms on both {dict(watch.both)}, on none {dict(watch.none)} | "
            f"dropped {len(dropped)}, failed {failed}, packets of others {foreign} | {summary(verdicts)} | "
            f"standby whole after {told_words}, {left} calls left in the engines of the survivor",
            flush=True,
        )
        return good

    def _moves(self) -> int:
        return sum(
            len(re.findall("Entering MASTER STATE", (node.logs / "keepalived.log").read_text()))
            for node in self.lab.nodes
        )

    def _sessions(self, node: Node) -> list[tuple[int, int]]:
        """(own, foreign) of both engines."""
        lines = node.run("python3", "-c", _SESSIONS).splitlines()
        return [(int(own), int(foreign)) for own, foreign in (line.split() for line in lines)]

    def _settle(self) -> float | None:
        """Seconds until both nodes' engines know the same number of calls, None when they never do."""

        def equal() -> bool:
            here, there = (self._sessions(node) for node in self.lab.nodes)
            pairs = zip(here, there, ("media-1", "media-2"), strict=True)
            return all(
                abs(sum(h) - sum(t)) <= 2 and (h if name in self.lab.a.holds() else t)[1] <= 1 for h, t, name in pairs
            )

        time.sleep(1)
        try:
            return 1 + wait_until("the standby to know the calls", equal, SETTLED_SECONDS)
        except TimeoutError:
            for node in self.lab.nodes:
                print(f"     {node.name} holds {sorted(node.holds())}, engines (own, foreign) {self._sessions(node)}")
            return None

    def _kill_the_busier(self) -> None:
        max(self.lab.nodes, key=lambda node: len(node.holds())).kill()

    def _left(self) -> int:
        return sum(sum(counts) for node in self.lab.nodes if node.status() for counts in self._sessions(node))


def main() -> int:
    kinds = sorted(name.removeprefix("f_") for name in vars(Storm) if name.startswith("f_"))
    parser = argument_parser(__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--storms", type=int, default=1)
    parser.add_argument("--flaps", type=int, default=25, help="per storm")
    parser.add_argument("--calls", type=int, default=6, help="that last the whole storm")
    options = parse(parser, "kind", kinds)
    results = []
    with session(options.tree, options.site, options.keep) as lab:
        lab.wait_good(60)
        for seed in range(options.seed, options.seed + options.storms):
            print(f"seed {seed}:", flush=True)
            calls = lab.work / "calls" / str(seed)
            results.append(Storm(lab, seed).run(options.chosen, options.flaps, calls, options.calls))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
