"""Hostile traffic on the two-node lab while calls are set up, talk and end.

    PYTHONPATH=operator:agents:loadtests python tests/edge/flood.py \\
        --tree TREE --site SITE [--rate N] [--seconds N] [KIND...]

An address that the region does not know sends to the SIP address: floods (udp, tcp, tls, many: twenty addresses that
each stay below the limit of one), connections that say nothing (idle), the messages of RFC 4475 and mutations of good
ones (torture); `password` is a phone that tries a wrong one, and `none` the same time without any of it. Calls are
judged packet by packet. Exit code 0 only if every call was completed, no process of Kamailio ended, and no broken
message was taken for a good one.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drill import Drills, records, redis
from lab import NETWORK, SIP, Lab, argument_parser, judged, parse, session, sh, wait_until
from phones import AGENTS, HOST, NUMBER, TENANT, Phones, summary
from torture import RESPONSE, STRANGER, VALID, Torture, cases, flood_messages, mutations

from okitoki_phones.judge import COMPLETED, CallVerdict

HOSTILE = Path(__file__).with_name("hostile.py")
MANY = [f"{NETWORK}.{number}" for number in range(100, 120)]
MUTATIONS = 2000
NOT_UNDERSTOOD = ("wsinv", "intmeth", "dblreq")
"""Good requests that Kamailio 6.0 drops, or calls malformed: a Via that is folded within its protocol, a display name
with a NUL in it, octets behind the body of a datagram. No phone sends them."""
PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}


class Flood:
    """Each kind is a method `k_NAME` that sends for about `seconds`, and says what it sent and what is wrong."""

    def __init__(self, lab: Lab, rate: int, seconds: float, seed: int) -> None:
        self.lab, self.rate, self.seconds, self.random = lab, rate, seconds, random.Random(seed)
        self.drills = Drills(lab)

    def _files(self, messages: list[bytes]) -> list[str]:
        folder = self.lab.work / "hostile"
        folder.mkdir(exist_ok=True)
        files = [folder / f"{number:04}" for number in range(len(messages))]
        for file, message in zip(files, messages, strict=True):
            file.write_bytes(message)
        return [str(file) for file in files]

    def _hostile(self, mode: str, port: int, *words: str, source: str = STRANGER) -> Any:
        command = [sys.executable, str(HOSTILE), mode, source, f"{SIP}:{port}", *words]
        return json.loads(sh("ip", "netns", "exec", "vc-c", *command))

    def k_none(self) -> str:
        time.sleep(self.seconds)
        return "nothing was sent"

    def k_udp(self) -> str:
        """REGISTER, INVITE and OPTIONS from one address, many times the limit of one."""
        files = self._files(flood_messages())
        return f"{self._hostile('datagrams', 5060, str(self.rate), str(self.seconds), *files)}"

    def k_many(self) -> str:
        """The same from twenty addresses in turn, each below its limit: nobody is dropped for what it sends."""
        files = self._files(flood_messages())
        each = ",".join(MANY)
        return f"{self._hostile('datagrams', 5060, str(self.rate), str(self.seconds), *files, source=each)}"

    def k_tcp(self) -> str:
        return self._streams(5060)

    def k_tls(self) -> str:
        return self._streams(5061)

    def _streams(self, port: int) -> str:
        files = self._files(flood_messages())
        return f"{self._hostile('streams', port, '50', str(self.seconds), *files)}"

    def k_idle(self) -> str:
        """Connections that say nothing, as many as are let in."""
        held = {port: self._hostile("idle", port, "2000", str(self.seconds / 2)) for port in (5060, 5061)}
        return f"{held}"

    def k_password(self) -> str:
        """One of the site's phones has a wrong password and tries on; the others are at the same address."""
        accounts = [f"1001:wrong@{HOST}", f"1002:secret-1002@{HOST}"]
        told = self._hostile("guess", 5060, "60", TENANT, *accounts, source=AGENTS)
        # Thirty-one are challenged again, then that agent is refused there.
        right = told["wrong"].keys() == {"401", "403"} and told["right"] == "200"
        return f"{told}{'' if right else '; WRONG'}"

    def k_torture(self) -> str:
        """Each message of the RFC over each transport, then mutations, over UDP as fast as the limit lets them in."""
        told = cases()
        files = self._files([case.message for case in told])
        wrong, answers = [], {}
        for transport, port in PORTS.items():
            codes = self._hostile("each", port, "0.5", transport, *files)
            answers[transport] = dict(Counter(codes).most_common())
            wrong += [
                f"{transport} {case.name}: {code}" for case, code in zip(told, codes, strict=True) if bad(case, code)
            ]
        good = [*flood_messages(), *(case.message for case in told)]
        changed = self._files(list(mutations(self.random, MUTATIONS, good)))
        sent = self._hostile("datagrams", 5060, "250", str(MUTATIONS / 250), *changed)
        return f"{len(told)} messages {answers}, mutations {sent}" + f"; WRONG {wrong}" * bool(wrong)

    def run(self, name: str, out: Path, count: int) -> bool:
        for address in (STRANGER, *MANY):
            sh("ip", "-n", "vc-c", "address", "add", f"{address}/24", "dev", "eth0", check=False)
        for node in self.lab.nodes:
            redis(node, "FLUSHDB")
        phones = Phones(self.lab, out, count, spare=6)
        stream = {"number": NUMBER, "tenant": TENANT, "everySeconds": 1.0, "talkSeconds": [1.0, 2.0]}
        try:
            phones.publish()
            phones.register()
            phones.call(short=[stream], long=True)
            wait_until("calls to be answered", lambda: len(records(self.drills.holder())) >= count, 30)
            time.sleep(2)
            before, held, refused = self._processes(), self._held(), self._refused()
            action: Callable[[], str] = getattr(self, f"k_{name}")
            sent = action()
            after, moved, refused = self._processes(), self._held() != held, self._refused() - refused
            time.sleep(3)
            verdicts = phones.finish()
        finally:
            phones.close()
        self.lab.wait_good(60)
        whole = sum(verdict.outcome == COMPLETED for verdict in verdicts)
        same = "Kamailio's processes are the same" if before == after else f"KAMAILIO: {before} became {after}"
        same += ", addresses moved" * moved
        good = before == after and whole == len(verdicts) and whole > count and "WRONG" not in sent
        seen = f"{sent}, {refused} packets dropped by nft; {same} | {summary(verdicts)}, {set_up(verdicts)}"
        return judged(name, seen, good)

    def _processes(self) -> list[list[str]]:
        """Of each node's Kamailio."""
        return [node.run("pgrep", "-x", "kamailio").split() for node in self.lab.nodes]

    def _held(self) -> list[set[str]]:
        """Which addresses each node has. On a starved machine they move without a flood, too."""
        return [node.holds() for node in self.lab.nodes]

    def _refused(self) -> int:
        """Packets that the guard's table has dropped for their number, where the SIP address is."""
        shown = self.drills.holder().run("nft", "list", "counter", "ip", "okitoki-lab", "refused", check=False)
        found = re.search(r"packets (\d+)", shown)
        return int(found[1]) if found else 0


def bad(case: Torture, code: str) -> bool:
    """A stranger has begun a call or registered, a response was answered, or a good request was not understood."""
    let_in = code.startswith("2") and case.message[:6] in (b"INVITE", b"REGIST")
    answered = case.kind == RESPONSE and code.isdigit()
    mistaken = case.kind == VALID and case.name not in NOT_UNDERSTOOD and not (code.isdigit() and code != "400")
    return let_in or answered or mistaken


def set_up(verdicts: list[CallVerdict]) -> str:
    """How long the platform took to set calls up."""
    took = sorted(1000 * verdict.set_up_seconds for verdict in verdicts if verdict.set_up_seconds is not None)
    if not took:
        return "no call was set up"
    return f"set up in {statistics.median(took):.0f} ms (median), {took[-1]:.0f} ms (worst)"


def main() -> int:
    kinds = sorted(name.removeprefix("k_") for name in vars(Flood) if name.startswith("k_"))
    parser = argument_parser(__doc__)
    parser.add_argument("--rate", type=int, default=5000, help="requests a second of the UDP floods")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calls", type=int, default=4, help="that last all the time")
    options = parse(parser, "kind", kinds)
    with session(options.tree, options.site, options.keep) as lab:
        lab.wait_good(60)
        flood = Flood(lab, options.rate, options.seconds, options.seed)
        results = [flood.run(name, lab.work / "calls" / name, options.calls) for name in options.chosen]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
