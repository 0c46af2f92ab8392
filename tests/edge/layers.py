"""Both layers of taking calls, on the two-node lab: how long a caller waits until a landline is called.

    PYTHONPATH=operator:agents:loadtests python tests/edge/layers.py --tree TREE --site SITE [--rounds N] [STATE...]

No app and no database run in the lab: the edge has the last routes. Each STATE is a state of the tenant's site. A line
for each: where the calls went, and the time from INVITE at the edge to INVITE at the landline, median and worst. Exit
code 0 only if every call went where it must, in time, and was answered.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drill import Drills, records, redis
from lab import PHONES, SECOND_TRUNK, SIP, Lab, Node, argument_parser, judged, parse, session, sh, wait_until
from phones import HOST, LANDLINE, NUMBER, TENANT, Phones, summary

from okitoki_agents.edge.render import SILENT_SECONDS
from okitoki_phones.judge import COMPLETED

BOUND_SECONDS = 3.0
"""The promise (issue 5)."""
_KEEP = """
from okitoki_agents.edge import registrations
from okitoki_agents.edge.facts import Paths
assert registrations.keep(Paths())
"""
_AGENT = """
import asyncio, os, types
from okitoki_agents.edge import facts, store
from okitoki_agents.edge.agent import landline_mode, status, trunks
here = facts.load(os.environ)
folder = here.paths.data / "agent"
pair = types.SimpleNamespace(own=status.Node(), peer=None)
async def run():
    asked = trunks.Trunks(here, pair, folder / "trunks.json", lambda: None)
    asked._every = dict.fromkeys(asked._every, 1)
    modes = landline_mode.LandlineMode(here, pair, folder, lambda tenant: True, lambda: None)
    while True:
        pair.own = status.parse_guard_status(store.read_json(here.paths.status))
        await asked.look()
        modes.look()
        await asyncio.sleep(0.5)
asyncio.run(run())
"""
"""Parts of the agent, which the lab does not run: it asks the trunks, here every second, and keeps the journal."""
_DEAF_TRUNKS = """
table ip trunk {{
    chain in {{
        type filter hook input priority -5; policy accept;
        ip daddr {{ {hosts} }} udp dport 5060 @th,64,48 {{ 0x494e56495445, 0x4f5054494f4e }} drop
    }}
}}
"""
"""INVITE and OPTIONS to these hosts are lost, nothing else: so the carrier's own calls go on."""
_REGISTER = """
import socket, sys
host = sys.argv[1]
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(3)
client.connect(("SERVER", 5060))
here = "%s:%d" % client.getsockname()
client.send((
    f"REGISTER sip:{host} SIP/2.0\\r\\nVia: SIP/2.0/UDP {here};branch=z9hG4bK1;rport\\r\\nMax-Forwards: 70\\r\\n"
    f"From: <sip:1001@{host}>;tag=1\\r\\nTo: <sip:1001@{host}>\\r\\nCall-ID: restricted@{host}\\r\\n"
    f"CSeq: 1 REGISTER\\r\\n"
    f"Contact: <sip:1001@{here}>\\r\\nContent-Length: 0\\r\\n\\r\\n"
).encode())
print(client.recv(4096).decode().splitlines()[0])
""".replace("SERVER", SIP)
STREAM = {"number": NUMBER, "tenant": TENANT, "everySeconds": 1.0, "talkSeconds": [0.5, 1.0]}


def ways(found: list[dict[str, Any]]) -> tuple[Counter[str], list[float]]:
    """Where the calls of the carrier ended, and for those to a landline the seconds until its INVITE."""
    asked = {r["callId"]: r for r in found if r["role"] == "carrier"}
    landline = {r["callId"]: r for r in found if r["role"] == "landline"}
    agent = {r["callId"] for r in found if r["role"] == "agent" and r["establishedAt"]}
    ends: Counter[str] = Counter()
    for call_id, call in asked.items():
        answered = call["establishedAt"] is not None
        where = "landline" if call_id in landline else "agent" if call_id in agent else "nobody"
        ends[where if answered else f"{call['code']} {call['reason']}"] += 1
    waits = [landline[c]["attemptedAt"] - call["attemptedAt"] for c, call in asked.items() if c in landline]
    return ends, waits


class Layers:
    """Each state is a method `s_NAME`; it returns what it saw and whether that is right."""

    def __init__(self, lab: Lab, out: Path, seconds: float) -> None:
        self.lab, self.out, self.seconds = lab, out, seconds
        self.drills = Drills(lab)

    def _phones(self, name: str, count: int, spare: int) -> Phones:
        for node in self.lab.nodes:
            redis(node, "FLUSHDB")
            # What an earlier state taught the script.
            node.send("kamailio", signal.SIGKILL)
        time.sleep(2)
        self.lab.wait_good(60)
        phones = Phones(self.lab, self.out / name, count, spare, LANDLINE)
        phones.expires = 600
        phones.publish()
        return phones

    def _to_landline(self, phones: Phones, wanted: str = "landline") -> tuple[str, bool]:
        phones.call(short=[STREAM], long=False)
        time.sleep(self.seconds)
        verdicts = phones.finish()
        ends, waits = ways(phones.records())
        worst = max(waits, default=0.0)
        middle = statistics.median(waits) if waits else 0.0
        good = set(ends) == {wanted} and worst < BOUND_SECONDS
        good = good and all(verdict.outcome == COMPLETED for verdict in verdicts)
        return f"{dict(ends)}, landline after median {middle:.2f} worst {worst:.2f} s", good

    def _ends(self, phones: Phones, *, long: bool = False) -> Counter[str]:
        """Where calls end for a while, one a second, with or without those that last."""
        try:
            phones.call(short=[STREAM], long=long)
            time.sleep(self.seconds)
            phones.finish()
        finally:
            phones.close()
        return ways(phones.records())[0]

    def s_no_routes(self) -> tuple[str, bool]:
        """The edge has never heard of the tenant's app."""
        return self._to_landline(self._phones("no_routes", 0, 0))

    def s_none_registered(self) -> tuple[str, bool]:
        """No phone is registered."""
        return self._to_landline(self._phones("none_registered", 0, 200))

    def s_one_silent(self) -> tuple[str, bool]:
        """One phone is registered and has lost power."""
        return self._silent("one_silent", 1)

    def s_all_silent(self) -> tuple[str, bool]:
        """200 phones are registered and have lost power."""
        return self._silent("all_silent", 200)

    def _silent(self, name: str, agents: int) -> tuple[str, bool]:
        phones = self._phones(name, 0, agents)
        try:
            with self._agent(self.drills.holder()) as folder:
                phones.register()
                phones.site_reachable(False)
                phones.call(short=[STREAM], long=False)
                time.sleep(self.seconds)
                # Power is back. A phone that was silent is passed over for a while, unless it registers anew.
                phones.site_reachable(True)
                gone_by = time.time()
                time.sleep(SILENT_SECONDS + 8)
                phones.finish()
                lines = [json.loads(line) for line in (folder / "landline-mode.jsonl").read_text().splitlines()]
                journal = [f"{line['at'][11:23]} {line['mode']} ({line['why']})" for line in lines]
        finally:
            phones.close()
        found = phones.records()
        before = [r for r in found if r["role"] != "carrier" or r["attemptedAt"] < gone_by - BOUND_SECONDS]
        after = [r for r in found if r["role"] != "carrier" or r["attemptedAt"] > gone_by + SILENT_SECONDS + 1]
        (ends, waits), (later, _) = ways(before), ways(after)
        worst, middle = max(waits, default=0.0), statistics.median(waits) if waits else 0.0
        # The only agent of a queue may be talking when the next call comes.
        busy = {"480 No Agent Available"} if agents == 1 else set()
        good = set(ends) == {"landline"} and worst < BOUND_SECONDS
        good = good and later["agent"] > 0 and set(later) <= {"agent"} | busy
        good = good and [line["mode"] for line in lines] == ["landlines", "agents"]
        back = f"power back: {dict(later)}; journal: {', '.join(journal)}"
        return f"{dict(ends)} after median {middle:.2f} worst {worst:.2f} s; {back}", good

    def s_busy(self) -> tuple[str, bool]:
        """Every agent talks: that is no fault of the site, and the carrier is told so."""
        phones = self._phones("busy", 2, 0)
        phones.register()
        ends = self._ends(phones, long=True)
        return str(dict(ends)), ends["landline"] == 0 and ends["agent"] == 2 and sum(ends.values()) > 2

    def s_restricted(self) -> tuple[str, bool]:
        """The service lets operators in no longer: calls that are under way go on, new ones go to the landline and no
        phone rings; then it lets them in again."""
        phones = self._phones("restricted", 2, 2)
        try:
            phones.register()
            phones.call(short=[STREAM], long=True)
            wait_until("calls to be answered", lambda: len(records(self.lab.a)) >= 2, 30)
            phones.publish("Restricted")
            at = time.time()
            refused = self.drills.holder().run("python3", "-c", _REGISTER, HOST)
            time.sleep(self.seconds)
            phones.publish()
            back = time.time()
            time.sleep(self.seconds)
            verdicts = phones.finish()
        finally:
            phones.close()
        found = phones.records()

        def within(begin: float, end: float) -> list[dict[str, Any]]:
            return [r for r in found if r["role"] != "carrier" or begin < r["attemptedAt"] < end]

        during, after = ways(within(at, back - 1))[0], ways(within(back + 1, time.time()))[0]
        good = set(during) == {"landline"} and during["landline"] > 3 and after["agent"] > 3
        good = good and refused.strip() == "SIP/2.0 403 Access Restricted By The Service"
        good = good and all(verdict.outcome == COMPLETED for verdict in verdicts)
        return f"{dict(during)}, {refused.strip()!r}; let in again: {dict(after)} | {summary(verdicts)}", good

    def s_restricted_without_landline(self) -> tuple[str, bool]:
        """A restricted tenant that has named no landline: callers are told at once."""
        phones = self._phones("restricted_without_landline", 0, 2)
        phones.landline = ""
        phones.publish("Restricted")
        ends = self._ends(phones)
        return str(dict(ends)), set(ends) == {"480 No Agent In The Queue"}

    def s_takeover(self) -> tuple[str, bool]:
        """The node of the media dies while callers talk to the landline."""
        phones = self._phones("takeover", 5, 0)
        try:
            phones.call()
            wait_until("calls to be answered", lambda: len(records(self.lab.a)) >= 5, 30)
            time.sleep(2)
            seen = self.drills.f_all()
            time.sleep(4)
            verdicts = phones.finish()
        finally:
            phones.close()
        self.drills.revive()
        ends, _ = ways(phones.records())
        kept: dict[str, set[str]] = {}
        for key, fields in (item for node in self.lab.nodes for item in records(node).items()):
            kept[key] = kept.get(key, set()) | fields
        whole = sum({"answered", "ended", "landline"} <= fields and "agent" not in fields for fields in kept.values())
        good = ends == Counter(landline=5) and whole == 5 and all(v.outcome == COMPLETED for v in verdicts)
        return f"{seen} | {dict(ends)} | {summary(verdicts)} | {whole} whole records of {len(kept)}", good

    @contextlib.contextmanager
    def _agent(self, node: Node) -> Iterator[Path]:
        """Parts of the agent run on `node`, from nothing, and write into the folder."""
        folder = node.data / "agent"
        shutil.rmtree(folder, ignore_errors=True)
        process = subprocess.Popen(node.command("python3", "-c", _AGENT))
        try:
            yield folder
        finally:
            node.run("pkill", "-f", "landline_mode.LandlineMode", check=False)
            process.wait(10)
            shutil.rmtree(folder, ignore_errors=True)

    def _trunks(self, name: str, *dead: str) -> tuple[str, list[dict[str, Any]]]:
        """Both trunks are asked until both answer; then what is asked of `dead` ones is lost. What the edge found, and
        the records of calls that were made after it."""
        phones, node = self._phones(name, 0, 0), self.drills.holder()
        known = node.data / "agent" / "trunks.json"

        def states() -> dict[str, str]:
            found: dict[str, dict[str, str]] = json.loads(known.read_text()) if known.exists() else {}
            return {host: trunk["state"] for host, trunk in found.items()}

        try:
            with self._agent(node):
                phones.second_trunk()
                phones.call(short=[STREAM], long=False)
                wait_until("both trunks to answer", lambda: set(states().values()) == {"answers"}, 20)
                sh("ip", "netns", "exec", "vc-c", "nft", _DEAF_TRUNKS.format(hosts=", ".join(dead)))
                took = wait_until("the edge to see it", lambda: all(states()[host] == "silent" for host in dead), 20)
                time.sleep(1)
                since = time.time()
                time.sleep(self.seconds)
                phones.finish()
                seen = f"{states()} after {took:.1f} s"
        finally:
            phones.close()
            sh("ip", "netns", "exec", "vc-c", "nft", "delete table ip trunk", check=False)
        calls = {r["callId"] for r in phones.records() if r["role"] == "carrier" and r["attemptedAt"] > since}
        return seen, [record for record in phones.records() if record["callId"] in calls]

    def s_dead_trunk(self) -> tuple[str, bool]:
        """The trunk that brings calls takes none, another one does: landlines are called through that at once."""
        seen, found = self._trunks("dead_trunk", PHONES)
        ends, waits = ways(found)
        good = set(ends) == {"landline"} and max(waits) < 1.0
        return f"{seen}: {dict(ends)} after median {statistics.median(waits):.2f} worst {max(waits):.2f} s", good

    def s_no_trunk(self) -> tuple[str, bool]:
        """No trunk takes calls: the caller hears so at once, and why."""
        seen, found = self._trunks("no_trunk", PHONES, SECOND_TRUNK)
        ends, _ = ways(found)
        waits = [record["endedAt"] - record["attemptedAt"] for record in found]
        good = set(ends) == {"503 No Trunk Answers"} and max(waits) < 1.5
        return f"{seen}: {dict(ends)} after median {statistics.median(waits):.2f} worst {max(waits):.2f} s", good

    def s_both_nodes_gone(self) -> tuple[str, bool]:
        """Both nodes die: the carrier forwards (layer 2). When they are back, phones need not register anew."""
        phones = self._phones("both_nodes_gone", 0, 20)
        phones.forwarding = {"forwardTo": LANDLINE, "unreachableSeconds": 2.0}
        try:
            phones.register()
            time.sleep(3)
            for node in self.lab.nodes:
                # What the agent, which the lab does not run, does every few seconds.
                node.run("python3", "-c", _KEEP)
            phones.call(short=[STREAM], long=False)
            time.sleep(4)
            for node in self.lab.nodes:
                node.kill()
            died = time.time()
            time.sleep(self.seconds)
            for node in self.lab.nodes:
                node.start()
            self.lab.wait_good(60)
            good_again = time.time()
            time.sleep(8)
            phones.finish()
        finally:
            phones.close()
        found = phones.records()
        away = [r for r in found if r["role"] != "carrier" or died < r["attemptedAt"] < died + self.seconds - 2]
        after = [r for r in found if r["role"] != "carrier" or r["attemptedAt"] > good_again]
        forwarded = Counter(r["forwarded"] for r in away if r["role"] == "carrier")
        (ends, _), (later, _) = ways(away), ways(after)
        lines = (self.out / "both_nodes_gone" / "agents" / "registrations.jsonl").read_text().splitlines()
        anew = sum(json.loads(line)["at"] > died for line in lines)
        good = set(ends) == {"landline"} and set(forwarded) == {f"{LANDLINE} unreachable"} and set(later) == {"agent"}
        return (
            f"away: {dict(ends)} {dict(forwarded)}; back: {dict(later)}, {anew} registrations since",
            good and not anew,
        )

    def run(self, name: str) -> bool:
        return judged(name, *getattr(self, f"s_{name}")())


def main() -> int:
    states = [name.removeprefix("s_") for name in vars(Layers) if name.startswith("s_")]
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15.0, help="of calls in each state, one a second")
    options = parse(parser, "state", states)
    results: list[bool] = []
    with session(options.tree, options.site, options.keep) as lab:
        lab.wait_good(60)
        for number in range(options.rounds):
            layers = Layers(lab, lab.work / "calls" / str(number), options.seconds)
            results += [layers.run(name) for name in options.chosen]
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
