"""Calls through the lab: the project's own carrier and agents' phones, and the verdict on what they saw."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lab as labs
from lab import Lab, wait_until

from okitoki_phones.judge import CallVerdict, judge
from okitoki_phones.records import read_lines

TENANT, HOST, NUMBER, QUEUE = "acme", "acme.lab.okitoki.test", "+380441234567", "sales"
LANDLINE = "+380447654321"
ENCRYPTED = ("no", "agents", "both")
"""Nothing; the agents' phones, by TLS and SRTP, and not the carrier; the audio at both ends."""
CARRIER, AGENTS = labs.PHONES, f"{labs.NETWORK}.51"


_PUBLISH = """
import asyncio, hashlib, sys
from okitoki_agents.edge.agent.routes import TenantRoutes, merge
from okitoki_agents.edge.agent.tenants import EdgeTenant
from okitoki_agents.edge.kamailio import publish
state, tenant, host, number, queue, landline, *agents = sys.argv[1:]
digest = lambda name: hashlib.md5(f"{name}:{tenant}:secret-{name}".encode()).hexdigest()
told = EdgeTenant(
    tenant=tenant, host=host, numbers=(number,), namespace="", service="", port=1, serverName="", edgeToken="",
    landlines={number: (landline,)} if landline else {}, state=state,
)
feed = TenantRoutes(tenant, {number: queue}, {queue: tuple(agents)}, {name: digest(name) for name in agents})
routes = merge({tenant: told}, {tenant: feed} if agents else {})
sys.exit(0 if asyncio.run(publish(routes)) else "Kamailio does not answer")
"""


class Phones:
    """`count` calls that last until `finish`, each to an agent of its own; `spare` agents beside them. `landline`:
    where the number's calls go when no phone answers."""

    def __init__(self, lab: Lab, out: Path, count: int, spare: int = 2, landline: str = "") -> None:
        self.lab, self.out, self.count, self.landline = lab, out, count, landline
        self.agents = [f"{1001 + index}" for index in range(count + spare)]
        self.expires = 60
        self.tls = False
        """Agents' phones register over TLS."""
        self.agents_config: dict[str, object] = {}
        self.carrier_config: dict[str, object] = {}
        """More of what `okitoki_phones.config` knows."""
        self.forwarding: dict[str, object] = {}
        """What the carrier was told about forwarding (layer 2)."""
        self.site: subprocess.Popen[bytes] | None = None
        """The process of all agents' phones."""
        self._second: subprocess.Popen[bytes] | None = None
        self._processes: list[subprocess.Popen[bytes]] = []

    def encrypt(self, which: str, rolled_over: int = 0) -> None:
        """One of ENCRYPTED; `rolled_over` as in `okitoki_phones.rtp.Sender`."""
        self.tls = which != "no"
        self.agents_config |= {"srtp": self.tls, "rolledOver": rolled_over}
        self.carrier_config |= {"srtp": which == "both", "rolledOver": rolled_over}

    def publish(self, state: str = "Active") -> None:
        """What the edge's agent makes of the tenant's Secret and feed; `state` as in its spec."""
        for node in self.lab.nodes:
            node.run("python3", "-c", _PUBLISH, state, TENANT, HOST, NUMBER, QUEUE, self.landline, *self.agents)

    def _start(self, role: str, config: Mapping[str, object], name: str = "") -> subprocess.Popen[bytes]:
        folder = self.out / (name or role)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
        command = [
            sys.executable,
            "-m",
            "okitoki_phones",
            role,
            "--config",
            str(folder / "config.json"),
            "--out",
            str(folder),
        ]
        path = os.pathsep.join((str(labs.REPOSITORY / "loadtests"), os.environ.get("PYTHONPATH", "")))
        environment = os.environ | {"PYTHONPATH": path}
        log = (folder / "log").open("wb")
        inside = labs.in_cgroup("ip", "netns", "exec", "vc-c", *command)
        process = subprocess.Popen(inside, env=environment, stdout=log, stderr=log)
        self._processes.append(process)
        wait_until(f"the {role}", lambda: (folder / "ready").exists() or process.poll() is not None, 30)
        return process

    def register(self) -> None:
        labs.sh("ip", "-n", "vc-c", "address", "add", f"{AGENTS}/24", "dev", "eth0", check=False)
        agents = [{"username": n, "domain": HOST, "secret": f"secret-{n}", "tenant": TENANT} for n in self.agents]
        config = {
            "host": AGENTS, "server": {"host": labs.SIP}, "agents": agents, "ringSeconds": [0.1, 0.4],
            "expires": self.expires, **self.agents_config,
        }  # fmt: skip
        if self.tls:
            config["server"] = {"host": labs.SIP, "port": 5061}
            config["tls"] = {"ca": str(self.lab.work / "ca.pem"), "serverName": HOST, "keepaliveSeconds": 2}
        self.site = self._start("agents", config)

    def call(self, short: list[dict[str, object]] | None = None, long: bool = True) -> None:
        config: dict[str, object] = {
            "address": {"host": CARRIER, "port": 5060}, "server": {"host": labs.SIP}, "short": short or [],
            "long": [{"number": NUMBER, "tenant": TENANT, "count": self.count}] if long else [],
            "landlines": [self.landline] if self.landline else [], **self.forwarding,
            **self.carrier_config,
        }  # fmt: skip
        self._carrier = self._start("carrier", config)

    def second_trunk(self) -> None:
        """The carrier answers on its other address, too: OPTIONS, and calls to the landline."""
        labs.sh("ip", "-n", "vc-c", "address", "add", f"{labs.SECOND_TRUNK}/24", "dev", "eth0", check=False)
        config = {
            "address": {"host": labs.SECOND_TRUNK, "port": 5060}, "server": {"host": labs.SIP}, "short": [], "long": [],
            "landlines": [self.landline],
        }  # fmt: skip
        self._second = self._start("carrier", config, "trunk2")

    def site_reachable(self, reachable: bool) -> None:
        """The tenant's site loses its power or its internet, without a word, or has it back."""
        for side in ("INPUT", "OUTPUT"):
            which = ("-d", AGENTS) if side == "INPUT" else ("-s", AGENTS)
            change = "-D" if reachable else "-A"
            labs.sh("ip", "netns", "exec", "vc-c", "iptables", "-w", change, side, *which, "-j", "DROP")

    def finish(self) -> list[CallVerdict]:
        """Hang up everything and judge."""
        self._carrier.send_signal(signal.SIGTERM)
        self._carrier.wait(90)
        for process in filter(None, (self.site, self._second)):
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        return judge(self.records())

    def records(self) -> list[dict[str, Any]]:
        """What the phones wrote so far."""
        files = [self.out / role / "calls.jsonl" for role in ("carrier", "agents", "trunk2")]
        return read_lines([file for file in files if file.exists()])

    def encrypted_as_told(self) -> bool:
        """Whether the audio of every established call was SRTP exactly where it was to be."""
        wanted = {"agent": self.tls, "carrier": bool(self.carrier_config.get("srtp"))}
        return all(r["encrypted"] == wanted.get(r["role"], False) for r in self.records() if r["establishedAt"])

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def summary(verdicts: list[CallVerdict]) -> str:
    ways = [way for verdict in verdicts for way in (verdict.to_agent, verdict.to_caller) if way]
    outcomes: dict[str, int] = {}
    for verdict in verdicts:
        outcomes[verdict.outcome] = outcomes.get(verdict.outcome, 0) + 1
    gaps = sorted(way.longest_gap_ms or 0 for way in ways)
    stalls = max((way.longest_stall_of_sender_ms or 0 for way in ways), default=0)
    lost = sum(way.lost for way in ways)
    problems = sorted({problem for verdict in verdicts for problem in verdict.problems})
    middle = gaps[len(gaps) // 2] if gaps else 0
    return (
        f"{outcomes} gap median {middle:.0f} worst {gaps[-1] if gaps else 0:.0f} ms (sender's own stall {stalls:.0f}), "
        f"lost {lost} of {sum(way.sent for way in ways)}, problems {problems}"
    )
