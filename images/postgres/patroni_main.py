#!/usr/bin/python3
"""Patroni, as Debian has it, with five mends: of how it keeps its lock, of when it writes the synchronous key, of what
a stop of all members leaves behind, of how a former primary that was stopped on the way down comes back, and of who has
to answer a primary that has no API server.

It does not give up its lock over a write of its own.

A request that Patroni sent to a silent API server and gave up is carried out when that server answers again (after a
pause, or a cut of the network: TCP delivers what was sent). By then the lock has outlived its TTL in everybody's eyes,
Patroni tries to take it again, meets the conflict with its own late write, and demotes a healthy primary ("demoted self
after trying and failing to obtain lock"; `Kubernetes.attempt_to_acquire_leader` of Patroni 4.0 and 4.1).

A lock whose object still names this member has never been given to another one. So after a conflict it is read again,
and if the name is our own it is compared and set once more, against the version that was read. Whoever took it in
between, a standby or the database agents (decision 8), has written another name or a newer version, and keeps it.

It leaves its own synchronous key alone from when it has taken its lock until it has renewed it. Otherwise it reads the
key, renews the lock, and writes the key; when it takes a lock again that was free or too old, it reads the key after
that. An agent that compared the key in between, and then the lock, would see neither change, and a standby that joins
the vote would not be among those that it had cut (decision 8, "No voter can join unseen").

When all members are told to stop (decision 13), what one of them sees of another's end changes nothing that waking
depends on. A standby that stops asks to be released from the synchronous key, and a primary that stops gives its lock
away; should the members end seconds apart, the key would name the primary alone, or a standby that took over for a
moment, and a tenant could wake on that one volume only.

A primary that crashed or was demoted at once is started as a standby, and first replays what it wrote itself. Stopped
in the middle of that (its pod ends, when a node is drained), it leaves "shut down in recovery" and no minimum recovery
point, which pg_rewind (15 to 17) takes for a standby that ends at its last checkpoint: "no rewind required", whatever
it wrote after it. It then replays that too, and can never follow the new primary ("new timeline forked off current
database system timeline before current recovery point"). So it is let replay to its end in single-user mode first, as
Patroni does with a crashed primary: what is there then is what pg_rewind sees.

A primary that cannot reach the API server goes on (failsafe mode) when so many voters give it their word that the rest
cannot elect another one (decision 26). Patroni asks for the word of every member, so that a frozen standby ended all
writes for as long as the API server was away. It may do with fewer since a standby that has promised it neither takes
the lock itself, in whatever way, nor tells a candidate its position in the WAL, without which it counts as no vote.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import patroni.postgresql  # noqa: F401 - before `ha`, which can only be imported after it (they import each other)
from patroni import api, ha
from patroni.__main__ import main
from patroni.dcs import kubernetes

ATTEMPTS = 3
"""More than one late write can arrive one after another."""
STOPPING = "platform.oki-toki.net/stopping"
"""The annotation of Patroni's configuration by which the operator announces that all members stop."""
PROMISE_FILE = Path("/var/lib/postgresql/data/promise.json")
"""On the member's volume, outside the database, which a clone replaces."""
PROMISE_TTLS = 2
"""How long a promise lasts. A primary asks again in each of its loops, and without an API server one takes 15 s of a
TTL of 20 s: retry_timeout, two attempts of 2 s at a silent member, loop_wait."""


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


def note_taken(attempt: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """`Kubernetes.attempt_to_acquire_leader` that remembers that the lock was taken and not renewed since."""

    def noted(self: Any) -> bool:
        self.taken_and_not_renewed = True
        return attempt(self)

    return noted


def note_renewed(update: Callable[..., bool]) -> Callable[..., bool]:
    """`Kubernetes.update_leader` that remembers that the lock was renewed. Who was given the lock leads by the word of
    all voters, and owes the last primary nothing."""

    def noted(self: Any, *arguments: Any, **options: Any) -> bool:
        renewed = update(self, *arguments, **options)
        if renewed:
            self.taken_and_not_renewed = False
            PROMISE.end()
        return renewed

    return noted


def cached(store: Any, path: str) -> Mapping[str, str]:
    """The annotations of an object of Patroni's store as its cache has them; none of one that is not there."""
    found = store._kinds.get(path)
    return (found.metadata.annotations or {}) if found is not None else {}


def own_key(store: Any) -> Mapping[str, str]:
    """The synchronous key, if it is this member's."""
    key = cached(store, store.sync_path)
    return key if key.get(store._LEADER) == store._name else {}


def leave_key(write: Callable[..., Any]) -> Callable[..., Any]:
    """`Kubernetes.write_sync_state` that writes nothing, as if somebody else had, while this member's own key is to
    wait for a renewal of the lock. Patroni tries again in its next loop. A new primary's first key waits for nothing.
    """

    def guarded(self: Any, leader: Any, *arguments: Any, **options: Any) -> Any:
        if own_key(self) and getattr(self, "taken_and_not_renewed", False):
            kubernetes.logger.info("the synchronous key waits until the lock has been renewed")
            return None
        return write(self, leader, *arguments, **options)

    return guarded


def all_stop(store: Any) -> bool:
    """Whether the operator has announced that all members stop."""
    return bool(cached(store, store.config_path).get(STOPPING))


def keep_standbys(write: Callable[..., Any]) -> Callable[..., Any]:
    """`Kubernetes.write_sync_state` that writes nothing, as if somebody else had, when it would leave this member's own
    key without a standby while all members stop. Nobody writes then, so those in it have all that was acknowledged."""

    def guarded(self: Any, leader: Any, sync_standby: Any, *arguments: Any, **options: Any) -> Any:
        if not sync_standby and own_key(self).get("sync_standby") and all_stop(self):
            kubernetes.logger.info("the synchronous key stays as it is: all members stop")
            return None
        return write(self, leader, sync_standby, *arguments, **options)

    return guarded


def note_end(shutdown: Callable[..., None]) -> Callable[..., None]:
    """`Ha.shutdown` that lets the store know that this member ends."""

    def noted(self: Any) -> None:
        self.dcs.ends = True
        shutdown(self)

    return noted


def keep_lock_to_the_end(delete: Callable[..., bool]) -> Callable[..., bool]:
    """`Kubernetes.delete_leader` that leaves the lock where it is when this member ends because all do: whoever took it
    would end too, in the middle of it. Should the others live on, it ends with its TTL."""

    def guarded(self: Any, *arguments: Any, **options: Any) -> bool:
        if getattr(self, "ends", False) and all_stop(self):
            kubernetes.logger.info("the lock stays as it is: all members stop")
            return False
        return delete(self, *arguments, **options)

    return guarded


def stopped_on_the_way_down(controldata: Mapping[str, str]) -> bool:
    """Whether a former primary was stopped while it replayed its own WAL, by what pg_controldata says."""
    state, minimum = controldata.get("Database cluster state"), controldata.get("Minimum recovery ending location")
    return state == "shut down in recovery" and minimum == "0/0"


def replay_first(recover: Callable[[Any], str]) -> Callable[[Any], str]:
    """`Ha.recover` that has such a member replay all it has before it is compared with the member that leads."""

    def recovered(self: Any) -> str:
        led = not self.cluster.is_unlocked() and not self.has_lock(False)
        if led and stopped_on_the_way_down(self.state_handler.controldata()):
            kubernetes.logger.info("this former primary was stopped before it had replayed what it wrote itself")
            if message := self._handle_crash_recovery():
                return str(message)
        return recover(self)

    return recovered


class Promise:
    """This member's word to a primary: that it neither takes the lock nor helps another one to it for some time. Kept
    in a file, as it outlives Patroni; one that is found is taken as given anew, since nobody knows how old it is."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, threading.Lock()
        self._to, self._until = "", 0.0
        with contextlib.suppress(FileNotFoundError):
            found = json.loads(file.read_text())
            self._to, self._until = found["to"], time.monotonic() + found["seconds"]

    def give(self, to: str, seconds: float) -> None:
        """From now on. It is on the disk when this returns; raises OSError when it can't be."""
        with self._lock:
            self._to, self._until = to, time.monotonic() + seconds
            if self._file.exists():
                return
            new = self._file.with_suffix(".new")
            with new.open("w") as file:
                json.dump({"to": to, "seconds": seconds}, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._file)
            folder = os.open(self._file.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def given(self) -> str:
        """To whom; empty when there is none, or it is over."""
        with self._lock:
            if time.monotonic() < self._until:
                return self._to
            self._forget()
            return ""

    def end(self) -> None:
        """It binds no longer."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._to:
            self._file.unlink(missing_ok=True)
            self._to, self._until = "", 0.0


PROMISE = Promise(PROMISE_FILE)


def promise(update: Callable[..., Any]) -> Callable[..., Any]:
    """`Ha.update_failsafe` (a primary without an API server asks) that remembers what it accepted."""

    def promised(self: Any, data: Mapping[str, Any]) -> Any:
        answer = update(self, data)
        if not isinstance(answer, str):  # else it is a reason why not
            PROMISE.give(str(data["name"]), PROMISE_TTLS * self.dcs.ttl)
        return answer

    return promised


def leave_promised_lock(attempt: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """`Kubernetes.attempt_to_acquire_leader` that fails while the lock is promised to another member."""

    def guarded(self: Any) -> bool:
        if to := PROMISE.given():
            kubernetes.logger.info("the lock is not taken: %s has this member's word", to)
            return False
        return attempt(self)

    return guarded


def tell_no_position(write: Callable[..., None]) -> Callable[..., None]:
    """`RestApiHandler._write_status_response` without the position in the WAL while this member's word binds it: what
    does not tell it is no vote for a candidate (`_MemberStatus.from_api_response`)."""

    def guarded(self: Any, status_code: int, response: dict[str, Any]) -> None:
        if PROMISE.given():
            for key in ("wal", "xlog"):
                response.pop(key, None)
        write(self, status_code, response)

    return guarded


def note_promised(call: Callable[..., Any]) -> Callable[..., Any]:
    """`Ha.call_failsafe_member` that remembers who gave this primary their word."""

    def noted(self: Any, data: Any, member: Any) -> Any:
        response = call(self, data, member)
        if response.accepted:
            self.promised.add(response.member_name)
        return response

    return noted


def enough_promises(key: Mapping[str, str], promised: Collection[str]) -> bool:
    """Whether nobody can win the race for the lock of the primary whose synchronous key this is, given who promised to
    stay out of it. A voter needs `quorum` votes beside its own, any other member one more, and a primary that runs is
    no vote; so those without a promise must be no more than `quorum`. Pure."""
    voters = set(filter(None, (key.get("sync_standby") or "").split(",")))
    return bool(voters) and len(voters - set(promised)) <= int(key.get("quorum") or 0)


def note_compared(write: Callable[..., Any]) -> Callable[..., Any]:
    """`Kubernetes.write_sync_state` that remembers which version of the key it was to replace."""

    def noted(self: Any, leader: Any, sync_standby: Any, quorum: Any, version: Any = None) -> Any:
        self.compared_key = version
        return write(self, leader, sync_standby, quorum, version=version)

    return noted


def key_in_doubt(store: Any) -> bool:
    """Whether the key may be another one than the cache has: one was written in its place, and what became of that is
    not known. A write that comes late is refused once the key has any other version."""
    found = store._kinds.get(store.sync_path)
    return found is None or found.metadata.resource_version == getattr(store, "compared_key", "")


def go_on_with_enough(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """`Ha.check_failsafe_topology` that is content with the word of enough voters."""

    def checked(self: Any) -> bool:
        self.promised = set()
        if check(self):
            return True
        enough = not key_in_doubt(self.dcs) and enough_promises(own_key(self.dcs), self.promised)
        if enough:
            kubernetes.logger.info("nobody else can be elected: %s gave their word", ", ".join(sorted(self.promised)))
        return enough

    return checked


def tidy_promise(touch: Callable[..., bool]) -> Callable[..., bool]:
    """`Kubernetes.touch_member`, which each loop calls, that removes a promise which is over: after a restart it would
    bind anew."""

    def tidied(self: Any, *arguments: Any, **options: Any) -> bool:
        PROMISE.given()
        return touch(self, *arguments, **options)

    return tidied


STORE = kubernetes.Kubernetes
STORE.attempt_to_acquire_leader = leave_promised_lock(note_taken(keep_own_lock(STORE.attempt_to_acquire_leader)))
STORE.update_leader = note_renewed(STORE.update_leader)
STORE.write_sync_state = leave_key(keep_standbys(note_compared(STORE.write_sync_state)))
STORE.delete_leader = keep_lock_to_the_end(STORE.delete_leader)
STORE.touch_member = tidy_promise(STORE.touch_member)
ha.Ha.shutdown = note_end(ha.Ha.shutdown)
ha.Ha.recover = replay_first(ha.Ha.recover)
ha.Ha.update_failsafe = promise(ha.Ha.update_failsafe)
ha.Ha.call_failsafe_member = note_promised(ha.Ha.call_failsafe_member)
ha.Ha.check_failsafe_topology = go_on_with_enough(ha.Ha.check_failsafe_topology)
api.RestApiHandler._write_status_response = tell_no_position(api.RestApiHandler._write_status_response)

if __name__ == "__main__":
    sys.exit(main())
