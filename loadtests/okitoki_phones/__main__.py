"""`python -m okitoki_phones agents|carrier --config FILE --out DIR`.

Writes `ready` into DIR (and a line to standard output) when all agents are registered, or the trunk is bound. Ends on
SIGTERM or SIGINT: hangs up first, then writes what is left.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

from okitoki_phones.agent import Agent
from okitoki_phones.carrier import Carrier
from okitoki_phones.config import AgentsConfig, CarrierConfig, ConfigError, load
from okitoki_phones.records import JsonLines, LegRecord, write_whole


def on_signal(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def ready(out: Path, what: str) -> None:
    write_whole(out / "ready", {"at": time.time(), "what": what})
    print(f"ready: {what}", flush=True)


async def run_agents(config: AgentsConfig, out: Path) -> None:
    """Agents' phones until a signal."""
    stop = asyncio.Event()
    on_signal(stop)
    lines = JsonLines(out / "calls.jsonl")
    events = JsonLines(out / "registrations.jsonl")
    agents = [Agent(one, config, lambda record: lines.write(record.as_json())) for one in config.agents]
    waits = []
    for agent in agents:
        await agent.start()
        registration, who = agent.registration, f"{agent.config.username}@{agent.config.domain}"

        def changed(registered: bool, why: str, who: str = who) -> None:
            events.write({"at": time.time(), "agent": who, "registered": registered, "why": why})

        registration.on_change = changed
        waits.append(asyncio.create_task(registration.registered.wait()))

    async def announce() -> None:
        await asyncio.gather(*waits)
        ready(out, f"{len(agents)} agents registered")

    everyone = asyncio.create_task(announce())
    await stop.wait()
    everyone.cancel()
    await asyncio.gather(*(agent.stop() for agent in agents))
    lines.close()
    events.close()
    write_whole(out / "summary.json", {"agents": [summary(agent) for agent in agents], "ended": time.time()})


def summary(agent: Agent) -> dict[str, object]:
    """What is worth knowing of one phone at its end."""
    return {
        "agent": agent.config.username,
        "domain": agent.config.domain,
        "registrations": vars(agent.registration.counts),
        "sip": vars(agent.endpoint.counters),
        "connections": agent.endpoint.connections,
    }


async def run_carrier(config: CarrierConfig, out: Path) -> None:
    """The carrier until a signal or the end of its time."""
    lines = JsonLines(out / "calls.jsonl")
    carrier = Carrier(config, lambda record: lines.write(record.as_json()))
    events = JsonLines(out / "events.jsonl")

    def happened(event: str, record: LegRecord) -> None:
        facts = {"kind": record.kind, "tenant": record.tenant, "callId": record.call_id, "code": record.code}
        events.write({"at": time.time(), "event": event, **facts})

    carrier.on_event = happened
    on_signal(carrier.stopping)
    await carrier.start()
    ready(out, "trunk bound")
    await carrier.run()
    lines.close()
    events.close()
    write_whole(
        out / "summary.json",
        {"sip": vars(carrier.endpoint.counters), "latestStartMs": carrier.latest_start_ms, "ended": time.time()},
    )
    carrier.close()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="okitoki_phones", description="Simulated carrier and agents' phones.")
    parser.add_argument("role", choices=["agents", "carrier"])
    parser.add_argument("--config", type=Path, required=True, help="a JSON file; see okitoki_phones.config")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the results")
    given = parser.parse_args(arguments)
    try:
        values = load(given.config)
        work = (
            run_agents(AgentsConfig.read(values), given.out)
            if given.role == "agents"
            else run_carrier(CarrierConfig.read(values), given.out)
        )
    except ConfigError as error:
        print(f"{given.config}: {error}", file=sys.stderr)
        return 2
    asyncio.run(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
