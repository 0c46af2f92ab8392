"""Doubles for the agent's tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from okitoki_agents.database.decisions import Local, Position, Verdict
from okitoki_agents.database.local import CutError
from okitoki_agents.database.peers import Answer
from okitoki_agents.kube import ApiError, Object

NAMESPACE = "tenant-acme"
MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


def config_map(name: str, version: int, **annotations: str) -> Object:
    return {"metadata": {"name": name, "resourceVersion": str(version), "annotations": annotations}}


class FakeApi:
    """Objects by path, with the API server's compare-and-set; `errors` are raised once, by path."""

    def __init__(self, leader: str = "postgres-0", voters: str = "postgres-1,postgres-2") -> None:
        failsafe = '{"postgres-0":"http://a","postgres-1":"http://b","postgres-2":"http://c"}'
        self.objects: dict[str, Object] = {
            f"{MAPS}/postgres-leader": config_map(
                "postgres-leader", 10, leader=leader, failsafe=failsafe, renewTime="1"
            ),
            f"{MAPS}/postgres-sync": config_map("postgres-sync", 7, leader=leader, sync_standby=voters),
            f"{PODS}/postgres-0": config_map("postgres-0", 3, status="{}"),
        }
        self.version = 10
        self.errors: dict[str, list[Exception | None]] = {}
        self.patched: list[str] = []

    def annotations(self, path: str) -> dict[str, str]:
        found: dict[str, str] = self.objects[path]["metadata"]["annotations"]
        return found

    def maps(self) -> dict[str, Object]:
        return {path.rpartition("/")[2]: item for path, item in self.objects.items() if "/configmaps/" in path}

    async def get(self, path: str, seconds: float = 0) -> Object:
        return self.objects[path]

    async def list(self, path: str, selector: str) -> tuple[list[Object], str]:
        if waiting := self.errors.get(path):
            error = waiting.pop(0)
            if error is not None:
                raise error
        return [item for where, item in self.objects.items() if where.startswith(f"{path}/")], str(self.version)

    async def merge_patch(self, path: str, patch: Object, seconds: float = 0) -> Object:
        self.patched.append(path.rpartition("/")[2])
        if waiting := self.errors.get(path):
            error = waiting.pop(0)
            if error is not None:
                raise error
        if path not in self.objects:
            raise ApiError(404, "not found")
        metadata = self.objects[path]["metadata"]
        wanted = patch["metadata"].get("resourceVersion")
        if wanted is not None and wanted != metadata["resourceVersion"]:
            raise ApiError(409, "the object has been modified")
        merged = {**metadata["annotations"], **patch["metadata"]["annotations"]}
        self.version += 1
        self.objects[path] = {
            "metadata": {
                **metadata,
                "resourceVersion": str(self.version),
                "annotations": {key: value for key, value in merged.items() if value is not None},
            }
        }
        return self.objects[path]


class FakeVoters:
    """Answers yes unless told otherwise; `refuse` is (question, member) -> reason. Notes what was asked of whom."""

    def __init__(self) -> None:
        self.positions = {"postgres-1": Position(1, 500), "postgres-2": Position(1, 500)}
        self.without_patroni: set[str] = set()
        self.refuse: dict[tuple[str, str], str] = {}
        self.asked: list[tuple[str, str, int]] = []

    async def ask(self, members: frozenset[str], what: str, body: Mapping[str, Any], limit: float) -> dict[str, Answer]:
        self.asked += [(what, member, body["version"]) for member in sorted(members)]
        return {
            member: Answer(
                Verdict((what, member) not in self.refuse, self.refuse.get((what, member), "yes")),
                self.positions[member] if what == "cut" else None,
                member not in self.without_patroni,
            )
            for member in members
        }


class FakeServer:
    """A local server whose cut works, or fails with `trouble`."""

    def __init__(self) -> None:
        self.trouble = ""
        self.local = Local(running=True, upstream="10.0.0.1", promoting=False, stopping=False)
        self.done: list[str] = []
        self.recovery: bool | None = True

    async def cut(self) -> Position:
        self.done.append("cut")
        if self.trouble:
            raise CutError(self.trouble)
        return Position(1, 500)

    async def patroni_answers(self) -> bool:
        return True

    async def checkpoint(self, seconds: float) -> None:
        self.done.append("checkpoint")

    async def enforce(self) -> None:
        self.done.append("enforce")

    async def state(self, *, upstream: bool) -> Local:
        if not upstream and self.local.running:
            return replace(self.local, upstream=None)
        return self.local

    async def resume(self) -> None:
        self.done.append("resume")

    def let_go(self) -> None:
        self.done.append("let go")

    async def in_recovery(self) -> bool | None:
        return self.recovery

    async def is_primary(self) -> bool:
        return self.recovery is False

    def kill_patroni(self) -> None:
        self.done.append("kill")
