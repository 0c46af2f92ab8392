"""The region's limit of calls (`spec.media.maxCalls`) on the two-node lab, under twice as many as it lets in.

    PYTHONPATH=operator:agents:loadtests python tests/edge/admission.py \\
        --tree TREE --site SITE [--limit N] [--seconds N]

The calls that last were there before; short ones come beside them, more than fit. What the agent does for the limit
runs on both nodes. Exit code 0 only if the calls in progress went on, refused ones got 503 and nothing else failed, the
limit was kept and used, and calls are let in again afterwards.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter

from drill import Drills, records, redis
from flood import set_up
from lab import REGION, Lab, argument_parser, judged, session, wait_until
from phones import NUMBER, TENANT, Phones, summary

from okitoki_phones.judge import COMPLETED, FAILED, CallVerdict

REFUSED = "503 All Lines Are Busy"
TALK_SECONDS = 3.0
_COUNT = """
import asyncio, os
from okitoki_agents.edge import facts
from okitoki_agents.edge.agent import load
asyncio.run(load.run(facts.load(os.environ)))
"""


def most_at_once(verdicts: list[CallVerdict]) -> int:
    """Calls at a time, from the INVITE to the end, of those that were let in."""
    events: list[tuple[float, int]] = []
    for verdict in verdicts:
        if verdict.outcome == COMPLETED and verdict.ended_at is not None:
            events += [(verdict.attempted_at, 1), (verdict.ended_at, -1)]
    most = now = 0
    for _, change in sorted(events):
        now += change
        most = max(most, now)
    return most


class Admission:
    def __init__(self, lab: Lab, limit: int, seconds: float) -> None:
        self.lab, self.limit, self.seconds = lab, limit, seconds

    def run(self) -> bool:
        counters = [subprocess.Popen(node.command("python3", "-c", _COUNT)) for node in self.lab.nodes]
        try:
            time.sleep(2)
            beyond = self._calls("beyond", self.limit // 2, every=TALK_SECONDS / self.limit / 2)
            time.sleep(2)
            afterwards = self._calls("afterwards", 2, every=TALK_SECONDS / self.limit * 2)
        finally:
            for node in self.lab.nodes:
                node.run("pkill", "-f", "load.run", check=False)
            for counter in counters:
                counter.wait(10)
        most, refused = most_at_once(beyond), sum(verdict.reason == REFUSED for verdict in beyond)
        others = [v for v in beyond if v.outcome != COMPLETED and (v.outcome, v.reason) != (FAILED, REFUSED)]
        others += [verdict for verdict in afterwards if verdict.outcome != COMPLETED]
        good = not others and refused > 0 and 0.8 * self.limit <= most <= self.limit
        seen = f"limit {self.limit}, {len(beyond)} calls tried, {refused} refused with 503, at most {most} at once"
        otherwise = Counter(f"{verdict.outcome} {verdict.reason}" for verdict in others)
        seen += f", failed otherwise {dict(otherwise)}; afterwards {len(afterwards)} tried"
        return judged("limit of calls", f"{seen} | {summary(beyond)}, {set_up(beyond)}", good)

    def _calls(self, name: str, lasting: int, every: float) -> list[CallVerdict]:
        for node in self.lab.nodes:
            redis(node, "FLUSHDB")
        phones = Phones(self.lab, self.lab.work / "calls" / name, lasting, spare=2 * self.limit)
        stream: dict[str, object] = {"number": NUMBER, "tenant": TENANT, "everySeconds": every}
        stream["talkSeconds"] = [TALK_SECONDS - 1, TALK_SECONDS + 1]
        holder = Drills(self.lab).holder()
        try:
            phones.publish()
            phones.register()
            phones.call(long=True, short=[stream])
            wait_until("calls to be answered", lambda: len(records(holder)) >= lasting, 30)
            time.sleep(self.seconds)
            return phones.finish()
        finally:
            phones.close()


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("--limit", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args()
    REGION["maxCalls"] = options.limit
    with session(options.tree, options.site, options.keep) as lab:
        lab.wait_good(60)
        return 0 if Admission(lab, options.limit, options.seconds).run() else 1


if __name__ == "__main__":
    sys.exit(main())
