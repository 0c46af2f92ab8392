"""The guard's eye on the tunnel's supervisor; see `tunnel_watch`."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable

from okitoki_agents.edge.facts import Paths
from okitoki_agents.edge.guard import tunnel_watch
from okitoki_agents.edge.guard.processes import Watch
from okitoki_agents.edge.guard.tunnel_watch import Seen, Watched

log = logging.getLogger(__name__)


class Tunnel:
    """`state` is that of the service "tunnel": ok, down or frozen; `on_change` is called when it is another one."""

    def __init__(self, paths: Paths, on_change: Callable[[], None]) -> None:
        self._status, self._on_change = paths.tunnel_status, on_change
        self._watch = Watch(paths.pid / "tunnel", self.look, self.look)
        self._watched = Watched()
        self._written = 0
        self._said = "down"
        self.state = "down"

    def look(self) -> None:
        """Look once; every `main.TICK`."""
        self._watch.poll()
        runs = self._watch.pid is not None
        seen = Seen(runs, stopped=runs and not self._watch.runs(), spoke=self._spoke(), state=self._said)
        self._watched, decision = tunnel_watch.look(self._watched, seen)
        if decision.action == "kill":
            log.error("killed: %s", decision.reason)
            self._watch.kill()
        if decision.state != self.state:
            log.log(logging.INFO if decision.state == "ok" else logging.WARNING, "tunnel: %s", decision.state)
            self.state = decision.state
            self._on_change()

    def _spoke(self) -> bool:
        """Whether there is a status that was not there at the last look."""
        try:
            with self._status.open() as file:
                written = os.fstat(file.fileno()).st_mtime_ns
                if written == self._written:
                    return False
                self._written, self._said = written, str(json.load(file)["state"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return True
