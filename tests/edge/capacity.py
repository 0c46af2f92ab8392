"""How many calls a processor core of the edge carries, beside rtpengine alone with the same calls, in one run.

    PYTHONPATH=agents:loadtests python tests/edge/capacity.py --tree TREE --site SITE [--calls N] [--seconds N]

Counted is processor time (user and system, proc_pid_stat(5)) of every process of both nodes, standby and guards
included, for each packet that comes in at a node: a machine that is busy otherwise makes phones send less. The edge: at
rest, with N calls that talk, with calls that begin and end beside them. rtpengine alone: one more of it on a node,
without Redis, set up by its ng protocol, with the same packets.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass

from drill import Drills, records, redis
from lab import PHONES, REPOSITORY, Lab, Node, argument_parser, in_cgroup, judged, session, sh, wait_until
from phones import NUMBER, TENANT, Phones, summary

from okitoki_agents.edge.agent import ng
from okitoki_phones import sdp
from okitoki_phones.judge import COMPLETED, CallVerdict
from okitoki_phones.media import MediaSession

TICKS = os.sysconf("SC_CLK_TCK")
PACKETS_A_SECOND = 100
"""Of one call, both ways."""
MEAN_CALL_SECONDS = 180
"""Over which the cost of setting a call up is spread."""
ALONE = "alone"
ALONE_PORT = 2299


_STAT = 'for f in /proc/[0-9]*; do echo "$(cat $f/stat) $(tr "\\0" " " < $f/cmdline)"; done 2>/dev/null'

Shares = dict[str, float]
"""Process name -> cores that it keeps busy, or seconds of one; of the lone engine by ALONE."""


def spent(nodes: list[Node]) -> Shares:
    """Processor seconds of the nodes' processes so far."""
    found: Shares = {}
    for node in nodes:
        for line in node.run("sh", "-c", _STAT, check=False).splitlines():
            name, _, rest = line.partition("(")[2].rpartition(") ")
            fields = rest.split()
            if len(fields) > 12:
                name = ALONE if f":{ALONE_PORT}" in rest else name
                found[name] = found.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / TICKS
    return found


def packets(nodes: list[Node]) -> int:
    """That have come in at the nodes so far."""
    shown = [json.loads(sh("ip", "-n", node.netns, "-s", "-j", "link", "show", "dev", "eth0")) for node in nodes]
    return sum(int(link[0]["stats64"]["rx"]["packets"]) for link in shown)


@dataclass(frozen=True)
class Window:
    """Of some seconds: cores kept busy, and packets a second."""

    shares: Shares
    rate: float

    def above(self, rest: Window) -> Window:
        shares = {name: share - rest.shares.get(name, 0.0) for name, share in self.shares.items()}
        return Window(shares, self.rate - rest.rate)

    def by_packet(self) -> float:
        """Seconds of a core."""
        return total(self.shares) / self.rate


def watched(nodes: list[Node], seconds: float) -> Window:
    """The next `seconds` of the nodes."""
    before, came, began = spent(nodes), packets(nodes), time.monotonic()
    time.sleep(seconds)
    after, lasted = spent(nodes), time.monotonic() - began
    shares = {name: max(0.0, total - before.get(name, 0.0)) / lasted for name, total in after.items()}
    return Window(shares, (packets(nodes) - came) / lasted)


def total(shares: Shares) -> float:
    return sum(shares.values())


class Capacity:
    def __init__(self, lab: Lab, calls: int, seconds: float) -> None:
        self.lab, self.calls, self.seconds = lab, calls, seconds

    def run(self) -> bool:
        for node in self.lab.nodes:
            redis(node, "FLUSHDB")
        rest = watched(self.lab.nodes, self.seconds)
        talk, both, verdicts = self._edge()
        alone = self._alone()
        setups = sum(verdict.kind == "short" for verdict in verdicts)
        edge = talk.above(rest)
        # What the calls beside them cost, without their audio.
        beside = both.above(rest)
        setting_up = (total(beside.shares) - beside.rate * edge.by_packet()) * self.seconds / max(1, setups)
        by_call = PACKETS_A_SECOND * edge.by_packet() + max(0.0, setting_up) / MEAN_CALL_SECONDS
        engine = PACKETS_A_SECOND * alone.by_packet()
        good = all(verdict.outcome == COMPLETED for verdict in verdicts) and 0 < engine < 1 and 0 < by_call < 1
        parts = {name: f"{1e6 * share / edge.rate:.1f}" for name, share in edge.shares.items() if share > 0.001}
        judged("edge at rest", f"{100 * total(rest.shares):.1f} % of a core, both nodes", good)
        judged("edge, a packet", f"{1e6 * edge.by_packet():.1f} us of a core, of these {parts}", good)
        judged("edge, a call set up and ended", f"{1000 * setting_up:.1f} ms of a core ({setups} calls)", good)
        judged("rtpengine alone, a packet", f"{1e6 * alone.by_packet():.1f} us of a core", good)
        words = f"edge {1 / by_call:.0f}, rtpengine alone {1 / engine:.0f}, ratio {engine / by_call:.2f}"
        return judged("calls per core", f"{words} | {summary(verdicts)}", good)

    def _edge(self) -> tuple[Window, Window, list[CallVerdict]]:
        phones = Phones(self.lab, self.lab.work / "calls" / "edge", self.calls, spare=8)
        stream = {"number": NUMBER, "tenant": TENANT, "everySeconds": 0.5, "talkSeconds": [0.5, 1.0]}
        try:
            phones.publish()
            phones.register()
            phones.call(long=True)
            holder = Drills(self.lab).holder()
            wait_until("calls to be answered", lambda: len(records(holder)) >= self.calls, 60)
            time.sleep(2)
            talk = watched(self.lab.nodes, self.seconds)
            verdicts = phones.finish()
        finally:
            phones.close()
        time.sleep(2)
        phones = Phones(self.lab, self.lab.work / "calls" / "both", self.calls, spare=8)
        try:
            phones.register()
            phones.call(short=[stream], long=True)
            time.sleep(4)
            both = watched(self.lab.nodes, self.seconds)
            verdicts += phones.finish()
        finally:
            phones.close()
        return talk, both, verdicts

    def _alone(self) -> Window:
        """A lone engine with the calls, above the same at rest."""
        node = self.lab.a
        engine = subprocess.Popen(
            node.command(
                "rtpengine", "--foreground", "--log-stderr", "--log-level=5", "--table=-1",
                f"--interface={node.address}", f"--listen-ng={node.address}:{ALONE_PORT}", "--port-min=40000",
                "--port-max=42000", "--tos=184", "--timeout=60", "--delete-delay=0",
            ),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        path = os.pathsep.join(str(REPOSITORY / name) for name in ("agents", "loadtests", "tests/edge"))
        talk = [sys.executable, __file__, ALONE, node.address, str(self.calls), str(self.seconds + 4)]
        try:
            time.sleep(2)
            rest = watched([node], self.seconds)
            command = in_cgroup("ip", "netns", "exec", "vc-c", *talk)
            calls = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE)
            time.sleep(3)
            with_calls = watched([node], self.seconds)
            told = json.loads(calls.communicate(timeout=60)[0])
        finally:
            node.run("pkill", "-f", f":{ALONE_PORT}", check=False)
            engine.wait(10)
        print(f"     rtpengine alone: {told}", flush=True)
        if told["heard"] < 0.95 * told["sent"]:
            raise RuntimeError("rtpengine alone did not relay the calls")
        more = with_calls.above(rest)
        return Window({ALONE: more.shares[ALONE]}, more.rate)


async def talk_alone(engine: str, count: int, seconds: float) -> dict[str, int]:
    """`count` calls through the engine by its ng protocol."""
    pairs = []
    for number in range(count):
        name = f"alone-{number}"
        caller, callee = (MediaSession(PHONES, name, *ends) for ends in (("a", "b"), ("b", "a")))
        ends = []
        for command, side in (("offer", caller), ("answer", callee)):
            told = {"command": command, "call-id": name, "from-tag": "a", "ICE": "remove"}
            told |= {"to-tag": "b"} if command == "answer" else {}
            told["sdp"] = sdp.write(sdp.Description(PHONES, side.port), number).decode()
            answer = await ng.request(engine, ALONE_PORT, told)
            described = sdp.parse(answer["sdp"].encode())
            ends.append((described.host, described.port))
        callee.start(ends[0])
        caller.start(ends[1])
        pairs.append((caller, callee))
    await asyncio.sleep(seconds)
    sides = [side for pair in pairs for side in pair]
    for side in sides:
        side.stop_sending()
    await asyncio.sleep(0.5)
    for side in sides:
        side.close()
    heard = sum(len(side.receiver.seen) for side in sides)
    return {"sent": sum(side.sender.sent for side in sides), "heard": heard}


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    with session(options.tree, options.site, options.keep) as lab:
        lab.wait_good(60)
        return 0 if Capacity(lab, options.calls, options.seconds).run() else 1


if __name__ == "__main__":
    if sys.argv[1:2] == [ALONE]:
        print(json.dumps(asyncio.run(talk_alone(sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))))
    else:
        sys.exit(main())
