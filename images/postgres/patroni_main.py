#!/usr/bin/python3
"""Patroni, as Debian has it, with one mend: it does not give up its lock over a write of its own.

A request that Patroni sent to a silent API server and gave up is carried out when that server answers again (after a
pause, or a cut of the network: TCP delivers what was sent). By then the lock has outlived its TTL in everybody's eyes,
Patroni tries to take it again, meets the conflict with its own late write, and demotes a healthy primary ("demoted self
after trying and failing to obtain lock"; `Kubernetes.attempt_to_acquire_leader` of Patroni 4.0 and 4.1).

A lock whose object still names this member has never been given to another one. So after a conflict it is read again,
and if the name is our own it is compared and set once more, against the version that was read. Whoever took it in
between, a standby or the database agents (decision 8), has written another name or a newer version, and keeps it.
"""

import sys
from collections.abc import Callable
from typing import Any

from patroni.__main__ import main
from patroni.dcs import kubernetes

ATTEMPTS = 3
"""More than one late write can arrive one after another."""


def keep_own_lock(attempt: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """`Kubernetes.attempt_to_acquire_leader` that tries again when the lock is still this member's.

    Raises what an attempt raises; an error of a look in between means that the lock was not taken.
    """

    def repeated(self: Any) -> bool:
        for _ in range(ATTEMPTS - 1):
            if attempt(self):
                return True
            try:
                found = self._api.read_namespaced_kind(self.leader_path, self._namespace, _request_timeout=(1, 2))
            except Exception as error:
                kubernetes.logger.warning("the lock could not be read again: %r", error)
                return False
            if (found.metadata.annotations or {}).get(self._LEADER) != self._name:
                return False
            kubernetes.logger.warning("the lock was written meanwhile and is still %s's: taking it again", self._name)
            self._kinds.set(self.leader_path, found)
            self._leader_resource_version = found.metadata.resource_version
        return attempt(self)

    return repeated


kubernetes.Kubernetes.attempt_to_acquire_leader = keep_own_lock(kubernetes.Kubernetes.attempt_to_acquire_leader)

if __name__ == "__main__":
    sys.exit(main())
