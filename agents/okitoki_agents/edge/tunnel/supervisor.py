"""Keeps the tunnel as it must be: one loop that looks a few times a second."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from types import FrameType

from okitoki_agents.edge import render
from okitoki_agents.edge.facts import Facts
from okitoki_agents.edge.tunnel import plan
from okitoki_agents.edge.tunnel.device import Device, DeviceError
from okitoki_agents.edge.tunnel.plan import Decision, Keys, Seen

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
ROUTES_EVERY = 8
"""Looks between two at rules and routes: nobody but a person changes them. They are looked at when the interface is
another one, too."""
HANDSHAKE_EVERY = 4
STEPS = 6
"""At most that many steps at one look."""
NO_KEYS = "there are no keys yet (Secret edge-tunnel, which the agent reads)"


def run(facts: Facts) -> None:
    """Until SIGTERM."""
    supervisor = Supervisor(facts)

    def end(number: int, frame: FrameType | None) -> None:
        supervisor.end()
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    while True:
        supervisor.look()
        time.sleep(LOOK_SECONDS)


class Supervisor:
    """Looks, lets `plan.decide` decide, acts, and says how it is in `Paths.tunnel_status`."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._device = Device(facts.region.tunnel.interface, facts.region.tunnel.table)
        log.info("WireGuard of the %s", "kernel" if self._device.in_kernel else "process wireguard-go")
        self._file = facts.paths.conf / "tunnel.conf"
        self._known: tuple[int | None, str | None] = (None, None)
        """Index of the interface that was seen last, and the peer; another one knows nothing of what this one was told.
        """
        self._configured: str | None = None
        self._routed = False
        self._silent = self._looks = 0
        self._handshake: float | None = None
        self._greeted = 0.0
        self._said = ""

    def end(self) -> None:
        self._device.leave()

    def look(self) -> None:
        """See and act, until there is nothing to do. Nothing that fails ends it."""
        self._looks += 1
        problem: str | None = None
        for _ in range(STEPS):
            keys, peer = self._keys(), self._peer()
            problem = NO_KEYS if keys is None and peer is not None else None
            try:
                decision = plan.decide(self._see(keys, peer), peer is not None and keys is not None)
                if decision.action == "none":
                    break
                self._tell(decision)
                self._act(decision, keys, peer)
            except (DeviceError, OSError) as error:
                problem = str(error)
                break
        self._publish(problem)

    def _keys(self) -> Keys | None:
        try:
            return plan.parse_keys(self._facts.paths.tunnel_keys.read_text())
        except OSError:
            return None

    def _peer(self) -> str | None:
        """The peer's address, None while there is none that has a tunnel."""
        return None if render.peer_is_plain(self._facts) else render.peer_of(self._facts) or None

    def _wanted(self, keys: Keys | None, peer: str | None) -> str | None:
        return None if keys is None else plan.configuration(self._facts, keys, peer)

    def _see(self, keys: Keys | None, peer: str | None) -> Seen:
        index, runs, stopped = self._device.index, self._device.runs(), self._device.stopped()
        if runs and index is not None and not stopped:
            self._silent = 0 if self._device.answers() else self._silent + 1
        if (index, peer) != self._known:
            self._known, self._configured, self._routed = (index, peer), None, False
        elif self._looks % ROUTES_EVERY == 0:
            self._routed = False
        if not self._routed and index is not None:
            self._routed = self._routes_are_right(peer)
        configured = keys is None or self._configured == self._wanted(keys, peer)
        well = index is not None and runs and not stopped and not self._silent and configured and keys is not None
        if well and (self._handshake is None or self._looks % HANDSHAKE_EVERY == 0):
            self._handshake = self._device.handshake()
        age = None if self._handshake is None else time.time() - self._handshake
        return Seen(
            exists=index is not None, runs=runs, stopped=stopped, silent=self._silent, configured=configured,
            routed=self._routed, handshake=age, greeted=time.monotonic() - self._greeted,
        )  # fmt: skip

    def _routes_are_right(self, peer: str | None) -> bool:
        facts, present = self._facts, self._device.rules()
        wanted = plan.rules(facts, peer)
        return (
            len(present) == len(wanted)
            and set(present) == wanted
            and self._device.routes() == {"unreachable", *plan.routes(facts, peer)}
        )

    def _act(self, decision: Decision, keys: Keys | None, peer: str | None) -> None:
        match decision.action:
            case "kill":
                self._device.kill()
                self._configured, self._silent = None, 0
            case "make":
                self._device.make()
                self._configured, self._handshake = None, None
            case "configure":
                self._configure(keys, peer)
            case "route":
                self._device.route(self._facts.node_ip, plan.routes(self._facts, peer), plan.rules(self._facts, peer))
            case "greet":
                # A peer that is new to the protocol is spoken to at once.
                self._greeted = time.monotonic()
                self._configure(keys, None)
                self._configure(keys, peer)
            case "none":
                pass

    def _configure(self, keys: Keys | None, peer: str | None) -> None:
        wanted = self._wanted(keys, peer)
        if wanted is None:
            return
        render.install(self._file, wanted)
        self._device.configure(self._file)
        # A handshake under other keys is none.
        self._configured, self._greeted, self._handshake = wanted, time.monotonic(), None

    def _tell(self, decision: Decision) -> None:
        if decision.action != "greet":
            level = logging.WARNING if decision.action == "kill" else logging.INFO
            log.log(level, "%s: %s", decision.action, decision.reason)

    def _publish(self, problem: str | None) -> None:
        """Written anew at each look: its age tells that somebody looks."""
        if problem and problem != self._said:
            log.error("%s", problem)
        self._said = problem or ""
        kind = "kernel" if self._device.in_kernel else "wireguard-go"
        document = {"state": "down" if problem else "ok", "because": problem, "kind": kind}
        render.install(self._facts.paths.tunnel_status, json.dumps(document))
