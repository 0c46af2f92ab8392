"""Kills servers in turn, under traffic, and waits each time until the platform is whole again."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.driver import KindDriver
from okitoki_chaos.faults.pods import Killed, kill_server, wait_replaced
from okitoki_chaos.timeline import Timeline
from okitoki_chaos.verdict import FaultOutcome
from okitoki_chaos.whole import platform_faults
from okitoki_local.demo.platform import KindCluster, Target
from okitoki_local.demo.traffic import Traffic
from okitoki_local.demo.waiting import HEARTBEAT_SECONDS, Watcher
from okitoki_local.progress import say
from okitoki_local.system import CommandFailed, LocalClusterError

RECOVERY_SECONDS = 300.0


class Scenario:
    """The faults of one run."""

    def __init__(
        self, cluster: KindCluster, objects: Sequence[Mapping[str, Any]], watcher: Watcher, traffic: Traffic,
        timeline: Timeline, seed: int,
    ) -> None:  # fmt: skip
        self._cluster = cluster
        self._objects = objects
        self._watcher = watcher
        self._traffic = traffic
        self._timeline = timeline
        self.outcomes: list[FaultOutcome] = []
        # The moment of a fault is random against leases and heartbeats, and the same again under the same seed.
        self._random = random.Random(seed)  # noqa: S311

    def run(self, targets: Sequence[Target]) -> list[FaultOutcome]:
        """All faults; ends with the first server that does not come back, for what follows would be no single fault."""
        for number, target in enumerate(targets, 1):
            self._traffic.wait_flow("before the next fault", writes=self._random.randint(80, 200), calls=1)
            say(f"  fault {number} of {len(targets)}: killing the {target.name}")
            self.outcomes.append(self._one(target))
            if self.outcomes[-1].recovered_at is None:
                say(f"    {self.outcomes[-1].error}")
                break
        return self.outcomes

    def _one(self, target: Target) -> FaultOutcome:
        killed: Killed | None = None
        replaced_at: float | None = None
        try:
            pod = target.find(self._cluster)
            killed = kill_server(
                KindDriver(self._cluster), pod, self._timeline, selector=target.selector, others_ready=target.others
            )
            say(f"    {pod.title} on {pod.node}: {len(killed.pids)} process trees killed and gone")
            replaced_at = wait_replaced(
                self._cluster, killed, self._timeline, selector=target.selector, count=target.count,
                limit=RECOVERY_SECONDS, progress=lambda state: say(f"    {state}"),
            )  # fmt: skip
            recovered_at = self.wait_whole()
        except (ChaosError, LocalClusterError, CommandFailed) as error:
            self._timeline.note("not recovered", target=target.name, why=str(error))
            at = killed.at if killed else time.time()
            return FaultOutcome(target.name, killed.pod.title if killed else "-", at, replaced_at, None, str(error))
        self._timeline.note("recovered", target=target.name)
        say(f"    whole again {recovered_at - killed.at:.1f} s after the kill; {self._traffic.summary()}")
        return FaultOutcome(target.name, killed.pod.title, killed.at, replaced_at, recovered_at)

    def wait_whole(self, limit: float = RECOVERY_SECONDS) -> float:
        """Wait until servers and resources say that all is well; returns the time (epoch seconds)."""
        begun = spoken = time.monotonic()
        while True:
            faults = [*platform_faults(self._cluster, self._objects)]
            faults += [f"{name} is not Ready" for name in self._watcher.unready()]
            faults += self._traffic.stalled()
            if not faults:
                # After the looks, not before: something may have become well while they were taken.
                return time.time()
            now = time.monotonic()
            if now - begun > limit:
                raise LocalClusterError(f"not whole within {limit:.0f} s: {'; '.join(faults)}")
            if now - spoken > HEARTBEAT_SECONDS:
                spoken = now
                say(f"    not whole yet: {'; '.join(faults)}")
            time.sleep(0.5)
