"""`python -m okitoki_locust.phones`: the phones of one Locust process, in a process of their own.

They run on asyncio, Locust on gevent, and audio every 20 ms must not wait for either's work. Commands come as JSON
lines on standard input, events leave as JSON lines on standard output; the end of the input is the order to end: hang
up, wait for the records, give up the registrations.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any

from okitoki_phones.agent import Agent
from okitoki_phones.carrier import Carrier, Plan
from okitoki_phones.config import AgentConfig, AgentsConfig, CarrierConfig
from okitoki_phones.records import LegRecord

LAG_EVERY_SECONDS = 0.02
STALL_SECONDS = 0.05
# How long agents' phones wait for the BYE of calls whose caller has ended.
HANG_UP_SECONDS = 3.0
Command = dict[str, Any]


def say(event: str, **facts: Any) -> None:
    """One event, at once."""
    sys.stdout.write(json.dumps({"event": event, **facts}, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def say_leg(record: LegRecord) -> None:
    say("leg", record=record.as_json())


class Phones:
    """Agents and a carrier's trunk, as far as they were asked for."""

    def __init__(self, setting: Command) -> None:
        self._server = (str(setting["server"][0]), int(setting["server"][1]))
        self._setting = setting
        self._agents: list[Agent] = []
        self._carrier: Carrier | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._random = random.Random(str(setting["seed"]))

    async def open(self) -> None:
        """Bind the trunk if there is to be one. Raises OSError when its address cannot be had."""
        if trunk := self._setting["trunk"]:
            config = CarrierConfig((trunk[0], trunk[1]), self._server, self._setting["caller"])
            self._carrier = Carrier(config, say_leg)
            self._carrier.on_event = lambda event, record: say(
                "call", what=event, at=time.time(), reference=record.reference, code=record.code,
                reason=record.reason, notes=record.notes,
            )  # fmt: skip
            await self._carrier.start()
        say("ready")

    async def take(self, command: Command) -> None:
        if command["do"] == "agent":
            await self._add_agent(command)
        elif command["do"] == "call" and self._carrier is not None:
            plan = Plan(
                "load", command["number"], command["tenant"], command["talk"], command["calleeEnds"],
                command["reference"],
            )  # fmt: skip
            task = asyncio.create_task(self._carrier.call(plan))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _add_agent(self, command: Command) -> None:
        config = AgentConfig(command["username"], command["domain"], command["secret"], command["tenant"])
        shared = AgentsConfig(
            self._setting["host"], self._server, (config,), seed=self._random.getrandbits(31), expires=60
        )
        agent = Agent(config, shared, say_leg)
        begun = time.monotonic()

        def changed(registered: bool, why: str) -> None:
            say(
                "registration", at=time.time(), username=config.username, registered=registered, why=why,
                seconds=time.monotonic() - begun,
            )  # fmt: skip

        agent.registration.on_change = changed
        await agent.start()
        self._agents.append(agent)

    async def end(self) -> None:
        """Callers hang up first; agents whose caller is elsewhere have a moment for the BYE to come."""
        if self._carrier is not None:
            self._carrier.stopping.set()
            await asyncio.gather(*self._calls, return_exceptions=True)
        until = time.monotonic() + HANG_UP_SECONDS
        while any(agent.leg is not None for agent in self._agents) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await asyncio.gather(*(agent.stop() for agent in self._agents))
        if self._carrier is not None:
            self._carrier.close()


async def watch_lag() -> None:
    """Tell of every time that this process did not get on."""
    loop = asyncio.get_running_loop()
    while True:
        before, at = loop.time(), time.time()
        await asyncio.sleep(LAG_EVERY_SECONDS)
        lag = loop.time() - before - LAG_EVERY_SECONDS
        if lag >= STALL_SECONDS:
            say("stall", at=at, seconds=lag)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    phones = Phones(json.loads(await reader.readline()))
    await phones.open()
    lag = asyncio.create_task(watch_lag())
    while line := await reader.readline():
        await phones.take(json.loads(line))
    await phones.end()
    lag.cancel()
    say("end")


if __name__ == "__main__":
    asyncio.run(serve())
