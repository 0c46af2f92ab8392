"""One session of a drill: load runs, and experiments follow one another. What Chaos Toolkit's activities share."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from okitoki_chaos import faults, guard
from okitoki_chaos.agent import AgentCluster, AgentDriver
from okitoki_chaos.cluster import ChaosError, require_local
from okitoki_chaos.cluster_journal import ClusterJournal
from okitoki_chaos.driver import Driver, KindDriver, NotPossible, verify
from okitoki_chaos.journal import Journal, heal
from okitoki_chaos.load import Load
from okitoki_chaos.lock import ClusterLock
from okitoki_chaos.shell import ShellCluster
from okitoki_chaos.steps import POLL_SECONDS, Plan
from okitoki_chaos.timeline import Timeline
from okitoki_chaos.whole import platform_faults
from okitoki_chaos.world import World
from okitoki_phones.records import write_whole

SETTINGS = "session.json"
LOOK_SECONDS = 1.0
SPEAK_SECONDS = 20.0
# Longer than the platform's readiness probes and Patroni's loop (3 s) take to see a server's end.
STEADY_SECONDS = 5.0
# Seconds that a fault may stay beyond the time it is held for, before the watchdog ends it.
GRACE_SECONDS = 120.0
CHANGE_SECONDS = 3600.0


@dataclass(frozen=True)
class Settings:
    """What a session is about; `session.json` in its folder. Ledgers and events are relative to the folder.

    `driver`: `kind`, the local cluster of this name, or `agent` (AgentDriver): the pod's own cluster, where the agents
    are in `namespace` and the release gave the rights `allow`.
    """

    run: str
    seed: int
    tenants: Sequence[str]
    regions: Sequence[str]
    ledgers: Mapping[str, str] = field(default_factory=dict)
    events: str | None = None
    cluster: str = "okitoki"
    driver: str = "kind"
    namespace: str = ""
    allow: Sequence[str] = ()
    begun: float = 0.0

    @classmethod
    def read(cls, folder: Path) -> Settings:
        return cls(**json.loads((folder / SETTINGS).read_text(encoding="utf-8")))

    def write(self, folder: Path) -> None:
        write_whole(folder / SETTINGS, asdict(self))


@dataclass
class Outcome:
    """What became of one experiment's fault. Times are epoch seconds, None for what did not come to be."""

    plan: Plan | None = None
    identity: str | None = None
    at: float | None = None
    bit_at: float | None = None
    healed_at: float | None = None
    whole_at: float | None = None
    healed_by: str | None = None
    proofs: list[str] = field(default_factory=list)
    not_possible: str | None = None
    refused: str | None = None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "fault": self.plan.fault if self.plan else None,
            "target": self.plan.target if self.plan else None,
            "facts": dict(self.plan.facts) if self.plan else {},
            "at": self.at,
            "bitAt": self.bit_at,
            "healedAt": self.healed_at,
            "wholeAt": self.whole_at,
            "healedBy": self.healed_by,
            "proofs": self.proofs,
            "notPossible": self.not_possible,
            "refused": self.refused,
            "error": self.error,
        }


class Session:
    """The one that runs in this process: `current()`."""

    def __init__(self, settings: Settings, folder: Path, driver: Driver, say: Callable[[str], None] = print) -> None:
        self.settings = settings
        self.driver = driver
        self.timeline = Timeline(folder / "timeline.jsonl")
        self.journal = journal_of(settings, driver, folder)
        self.lock = ClusterLock(driver.cluster, settings.run, say)
        ledgers = {name: folder / path for name, path in settings.ledgers.items()}
        self.load = Load(ledgers, folder / settings.events if settings.events else None)
        self.outcome = Outcome()
        self.say = say
        self._world: World | None = None
        self._index = 0

    @property
    def world(self) -> World:
        """Read once per experiment."""
        if self._world is None:
            seed = self.settings.seed * 1009 + self._index
            self._world = World.look(self.driver, self.settings.tenants, self.settings.regions, seed)
        return self._world

    def begin(self, index: int) -> None:
        """Another experiment: nothing of the last one is left."""
        self._index = index
        self._world = None
        self.outcome = Outcome()

    def plan(self, wanted: Sequence[Mapping[str, Any]], tenant: str, region: str) -> Plan:
        """What would be done now. Raises NotPossible, Refused, ChaosError."""
        return faults.plan(self.world, wanted, tenant, region)

    def inject(self, wanted: Sequence[Mapping[str, Any]], tenant: str, region: str, hold: float) -> str:
        """Plan, ask for consent, write down, do. Returns whom it hit."""
        outcome = self.outcome
        if outcome.not_possible is not None:
            raise NotPossible(outcome.not_possible)
        try:
            plan = self.plan(wanted, tenant, region)
            guard.require(self.world, plan)
            self.lock.require()
        except NotPossible as error:
            outcome.not_possible = str(error)
            raise
        except guard.Refused as error:
            outcome.refused = str(error)
            raise
        outcome.plan = plan
        outcome.identity = self.journal.announce(plan, hold + grace(plan))
        outcome.at = float(self.timeline.note("injecting", fault=plan.fault, target=plan.target)["at"])
        for step in plan.inject:
            outcome.proofs.append(self.driver.run(step).strip()[-200:])
        return plan.target

    def bit(self) -> list[str]:
        """The proofs that the fault took effect; raises ChaosError when it did not."""
        plan = self._injected()
        proofs = [verify(self.driver, check)[-200:] for check in plan.bit]
        self.outcome.bit_at = float(self.timeline.note("bit", fault=plan.fault, proofs=proofs)["at"])
        self.outcome.proofs += proofs
        return proofs

    def heal(self) -> list[str]:
        """Undo whatever is open; nothing to do is well, too."""
        entries = self.journal.open()
        if entries:
            self.timeline.note("healing", faults=[entry.plan.fault for entry in entries])
        done = heal(self.driver, self.journal, "runner")
        outcome = self.outcome
        if outcome.identity is not None and outcome.healed_at is None:
            outcome.healed_by = self.journal.closed_by(outcome.identity)
            outcome.healed_at = float(self.timeline.note("healed", by=outcome.healed_by, faults=done)["at"])
        return done

    def whole(self, within: float) -> list[str]:
        """Wait until everything says for some seconds running that all is well; `whole_at` is the first of them.

        A server whose end nobody has noticed yet looks well, too. Returns what is not, after `within` seconds.
        """
        begun = spoken = time.monotonic()
        since: float | None = None
        while True:
            found = self.not_whole()
            # After the looks, not before: something may have become well while they were taken.
            now, at = time.monotonic(), self.timeline.now()
            if not found:
                since = at if since is None else since
                if at - since >= STEADY_SECONDS:
                    return self._is_whole(since)
                time.sleep(LOOK_SECONDS)
                continue
            since = None
            if now - begun > within:
                self.timeline.note("not whole", why=found)
                return found
            if now - spoken > SPEAK_SECONDS:
                spoken = now
                self.say(f"    not whole yet: {'; '.join(found)}")
            time.sleep(LOOK_SECONDS)

    def _is_whole(self, since: float) -> list[str]:
        self.timeline.note("whole", at=since)
        if self.outcome.at is not None and self.outcome.whole_at is None:
            self.outcome.whole_at = since
        return []

    def not_whole(self) -> list[str]:
        """What is not well, as servers, resources and the load say it."""
        found = self.load.faults()
        if found:  # as long as clients are not served, there is no need to bother the API server
            return found
        try:
            now = World.look(self.driver, self.settings.tenants, self.settings.regions, 0)
            return [*platform_faults(now.cluster, now.objects), *unready(now.objects)]
        except (ChaosError, json.JSONDecodeError, KeyError) as error:
            return [f"the cluster does not say: {str(error)[:200]}"]

    def members(self, tenant: str, within: float) -> list[str]:
        """Wait until a tenant's database has all of its members, ready and in the quorum; what is not, at last."""
        objects = [obj for obj in self.world.objects if obj["metadata"]["name"] == tenant and obj["kind"] == "Tenant"]
        until = time.monotonic() + within
        while True:
            try:
                found = platform_faults(self.world.cluster, objects)
            except ChaosError as error:
                found = [str(error)]
            if not found or time.monotonic() > until:
                return found
            time.sleep(LOOK_SECONDS)

    def _injected(self) -> Plan:
        if self.outcome.plan is None or self.outcome.at is None:
            raise ChaosError("nothing was injected")
        return self.outcome.plan


def unready(objects: Sequence[Mapping[str, Any]]) -> list[str]:
    """Resources that do not say that they are Ready in their present generation. Pure."""
    found = []
    for obj in objects:
        conditions = {one["type"]: one for one in obj.get("status", {}).get("conditions", [])}
        ready = conditions.get("Ready", {})
        generation = obj["metadata"].get("generation")
        if ready.get("status") != "True" or ready.get("observedGeneration", generation) != generation:
            name = f"{obj['kind'].lower()} {obj['metadata']['name']}"
            found.append(f"{name} is not Ready ({ready.get('reason', 'no word of it')})")
    return found


def grace(plan: Plan) -> float:
    """Seconds that a fault may stay beyond the time it is held for: a machine that starts anew takes its time. A change
    that nobody undoes ends when it is through, which proves it, and the watchdog could only say that it was slow. Pure.
    """
    if not plan.undo:
        return CHANGE_SECONDS
    return max([GRACE_SECONDS, *(check.within + POLL_SECONDS for check in plan.healed)])


def driver_of(settings: Settings) -> KindDriver | AgentDriver:
    """The session's cluster. What undoes faults asks no API server whose cluster that is: it may be paused."""
    if settings.driver == AgentDriver.name:
        return AgentDriver(AgentCluster("", settings.namespace), os.environ.get("NODE_NAME", ""), settings.allow)
    if settings.driver == KindDriver.name:
        return KindDriver(ShellCluster(f"kind-{settings.cluster}"))
    raise ChaosError(f"driver {settings.driver!r}: must be kind or agent")


def journal_of(settings: Settings, driver: Driver, folder: Path | None) -> Journal:
    """Where faults are written down: a file beside the machine's daemon, the cluster itself for the agents; there the
    folder only has a copy, and may be missing."""
    path = folder / "journal.jsonl" if folder is not None else None
    if settings.driver == AgentDriver.name:
        return ClusterJournal(driver.cluster, settings.namespace, path)
    if path is None:
        raise ChaosError("a journal of the driver kind is a file")
    return Journal(path)


def open_session(folder: Path, say: Callable[[str], None]) -> Session:
    """The session of a folder; the kind driver refuses any cluster but the kind cluster of its name."""
    settings = Settings.read(folder)
    driver = driver_of(settings)
    if settings.driver == KindDriver.name:
        require_local(driver.cluster, settings.cluster)
    return Session(settings, folder, driver, say)


_current: list[Session] = []


def use(session: Session) -> None:
    """Make it the process's session."""
    _current[:] = [session]


def current() -> Session:
    """The process's session; for a plain `chaos run`, one made from OKITOKI_DRILL (a session's folder)."""
    if not _current:
        use(open_session(Path(os.environ.get("OKITOKI_DRILL", ".")), print))
    return _current[0]
