"""One drill at a time on a cluster, and what becomes of the lock of one that died."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from okitoki_chaos.cluster import ChaosError, Cluster
from okitoki_chaos.guard import Refused
from okitoki_chaos.world import SYSTEM_NAMESPACE

LEASE = "okitoki-drill"
LEASE_SECONDS = 60
RENEW_SECONDS = 15.0
# So long nobody renewed it: three times over, since the API server itself may have been away with the holder alive.
DEAD_SECONDS = 3 * RENEW_SECONDS
LOOK_SECONDS = 3.0


class ClusterLock:
    """A Lease in the platform's namespace, renewed by a thread of its own while a `with` block lasts.

    A holder that cannot renew goes on: its API server may be away by its own fault. Whoever wants the lock of a silent
    holder therefore goes by what it saw itself: no renewal for DEAD_SECONDS, with the lease run out.
    """

    def __init__(self, cluster: Cluster, run: str, say: Callable[[str], None] = lambda _: None) -> None:
        self._cluster = cluster
        # A drill that goes on after an interruption has the same name, and is another holder all the same.
        self.holder = f"{run}/{secrets.token_hex(4)}"
        self._say = say
        self._lost: str | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> ClusterLock:
        self.take()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)
        self.release()

    def require(self) -> None:
        """Raises Refused when another drill took it meanwhile: two at once would be no single fault."""
        if self._lost is not None:
            raise Refused(f"refusing: another drill runs ({self._lost})")

    def take(self) -> None:
        """Take it; waits for as long as it takes to see that a silent holder is dead. Raises Refused beside a living
        one."""
        found = self._read()
        if found is None:
            self._create()
            return
        other, seen, begun = _of(found), found["spec"].get("renewTime"), time.monotonic()
        if other and other != self.holder:
            self._say(f"the lock is {other}'s; waiting until it is renewed, or that drill is seen to be dead")
        while other and other != self.holder and not self._dead(found, begun):
            time.sleep(LOOK_SECONDS)
            found = self._read()
            if found is None:
                self._create()
                return
            if _of(found) != other or found["spec"].get("renewTime") != seen:
                raise Refused(f"refusing: another drill runs ({_of(found)})")
        self._write(found)

    def _dead(self, lease: Mapping[str, Any], begun: float) -> bool:
        """Raises Refused at once where waiting would take longer than a lease of this kind ever lasts."""
        left = run_out(lease) - datetime.now(UTC)
        if left > timedelta(seconds=LEASE_SECONDS + DEAD_SECONDS):
            raise Refused(f"refusing: another drill runs ({_of(lease)}), or its lock runs out in {left.seconds} s")
        return left <= timedelta() and time.monotonic() - begun >= DEAD_SECONDS

    def renew(self) -> None:
        """Once; notes when it is another's. Raises ChaosError when the API server does not answer."""
        found = self._read()
        if found is None:
            self._create()
        elif _of(found) == self.holder:
            self._write(found)
        else:
            self._lost = _of(found)

    def _keep(self) -> None:
        while not self._stop.wait(RENEW_SECONDS) and self._lost is None:
            try:
                self.renew()
            except ChaosError:
                continue

    def _write(self, found: Mapping[str, Any]) -> None:
        # The version makes it one holder's: of two that saw an expired lease, one is refused by the API server.
        patch = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "spec": self._spec()}
        self._cluster.kubectl("patch", "lease", LEASE, "-n", SYSTEM_NAMESPACE, "--type=merge", "-p", json.dumps(patch))

    def _spec(self) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {"holderIdentity": self.holder, "renewTime": now, "leaseDurationSeconds": LEASE_SECONDS}

    def _create(self) -> None:
        manifest = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE, "namespace": SYSTEM_NAMESPACE},
            "spec": self._spec(),
        }
        self._cluster.apply("create", manifest)

    def _read(self) -> Mapping[str, Any] | None:
        output = self._cluster.kubectl(
            "get", "lease", LEASE, "-n", SYSTEM_NAMESPACE, "--ignore-not-found", "-o", "json"
        )
        found: Mapping[str, Any] | None = json.loads(output) if output.strip() else None
        return found

    def release(self) -> None:
        """Give it back, if it is ours."""
        found = self._read()
        if found is not None and _of(found) == self.holder:
            self._cluster.kubectl("delete", "lease", LEASE, "-n", SYSTEM_NAMESPACE, "--ignore-not-found")


def _of(lease: Mapping[str, Any]) -> str:
    return str(lease["spec"].get("holderIdentity") or "")


def run_out(lease: Mapping[str, Any]) -> datetime:
    """When a lease runs out unless it is renewed. Pure."""
    spec = lease["spec"]
    return datetime.fromisoformat(spec["renewTime"]) + timedelta(seconds=spec["leaseDurationSeconds"])
