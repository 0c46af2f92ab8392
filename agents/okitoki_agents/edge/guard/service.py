"""One service of the node: its process, its probe, its health, and the track file that keepalived reads."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from okitoki_agents.edge.facts import Paths
from okitoki_agents.edge.guard import health
from okitoki_agents.edge.guard.health import Health, State
from okitoki_agents.edge.guard.probes import Probe
from okitoki_agents.edge.guard.processes import Watch
from okitoki_agents.edge.track import TrackFile

log = logging.getLogger(__name__)


class Service:
    """`settle`: seconds of answers before it counts as good. `ready`: a further condition for that. `alone`: no
    other node could take the address now; one whose service answers late is then better than one on no node.
    `misses`: probes in a row without an answer that make it frozen."""

    def __init__(
        self,
        paths: Paths,
        name: str,
        probe: Probe,
        settle: float,
        ready: Callable[[], bool],
        alone: Callable[[], bool],
        on_change: Callable[[], None],
        misses: int,
    ) -> None:
        self.name, self.probe, self._settle, self._ready = name, probe, settle, ready
        self._alone, self._on_change, self._misses = alone, on_change, misses
        self.track = TrackFile(paths, name)
        self.watch = Watch(paths.pid / name, self._started, self._died)
        self.health = Health()
        self._adopt = self.track.value == 0
        self._withheld = False
        self.left_to_peer = False
        """The address must not come here for now; takes effect at the next tick."""
        self.deaf = False
        """The node hears nobody; takes effect at the next tick."""

    @property
    def able(self) -> bool:
        """Whether the address could come here, or is here, beside a good service."""
        return self.health.state is State.OK and self.track.value == 0

    def tick(self) -> None:
        """Ask the service, and judge its answer to the question before."""
        self.watch.poll()
        if self.watch.pid is None:
            self._become(self.health)
            return
        answered, now = self.probe.ask(), time.monotonic()
        if answered:
            self._become(health.answered(self.health, now, self._settle))
        else:
            self._become(health.missed(self.health, now, self._misses))
        if health.must_be_killed(self.health, now):
            log.error("%s is %s for too long: killed", self.name, self.health.state)
            self.watch.kill()

    def withhold(self) -> None:
        """Give the address away for good, whatever the service's health."""
        self._withheld = True
        self._become(self.health)

    def _started(self) -> None:
        now = time.monotonic()
        if self._adopt:
            # The guard has restarted beside a service that was good.
            self._become(Health(State.OK, now, now))
        else:
            self._become(health.started(now))
        self._adopt = False

    def _died(self) -> None:
        self.probe.close()
        self._become(health.ended(time.monotonic()))

    def _become(self, new: Health) -> None:
        before, self.health = self.health, new
        wanted = not self._withheld and not self.left_to_peer and not self.deaf
        here = self.track.value == 0
        good = new.state is State.OK and (here or self._ready())
        kept = here and new.state is not State.DOWN and self._alone()
        self.track.set(0 if wanted and (good or kept) else 1)
        if new.state is not before.state:
            log.info("%s: %s -> %s", self.name, before.state, new.state)
            self._on_change()
