"""State changes for the timeline: who is primary, who holds which address, what resources say of themselves.

Each observer is one long-lived `kubectl get --watch` that prints a line per change; that costs less than asking, and
misses nothing while the API server lives. When it is away the timeline says that the observer was blind.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from okitoki_chaos.shell import kubectl_of
from okitoki_chaos.timeline import Timeline
from okitoki_chaos.whole import ADDRESSES, EDGE, EDGE_STATUS, LEADER

AGAIN_SECONDS = 1.0
Seen = Callable[[str], list[dict[str, str]]]


def leader_line(line: str) -> list[dict[str, str]]:
    """`NAMESPACE|LEADER` of a tenant's leader object. Pure."""
    namespace, _, leader = line.partition("|")
    if not namespace.startswith("tenant-"):
        return []
    return [{"event": "primary", "of": namespace.removeprefix("tenant-"), "is": leader or "nobody"}]


def holder_line(line: str) -> list[dict[str, str]]:
    """`NAMESPACE|POD|STATUS` of an edge pod: each address that it says it holds. Pure."""
    namespace, _, rest = line.partition("|")
    pod, _, text = rest.partition("|")
    try:
        holds = json.loads(text).get("holds", []) if text else []
    except json.JSONDecodeError:
        return []
    region = namespace.removeprefix("okitoki-region-")
    return [{"event": "holder", "of": f"{region} {name}", "is": pod} for name in ADDRESSES if name in holds]


def condition_line(line: str) -> list[dict[str, str]]:
    """`KIND|NAME|TYPE=STATUS:REASON,…` of a resource. Pure."""
    kind, name, text = (*line.split("|"), "", "")[:3]
    found = []
    for one in text.split(","):
        condition, _, value = one.partition("=")
        if condition:
            found.append({"event": "condition", "of": f"{kind.lower()} {name} {condition}", "is": value})
    return found


@dataclass(frozen=True)
class Watch:
    """What to watch: kubectl's arguments, the template of a line, and how to read it."""

    name: str
    arguments: tuple[str, ...]
    template: str
    read: Seen


# Templates of Go, since kubectl's JSONPath forgets in the second line of a watch that it is inside of a range.
_NOTE = '{{with .metadata.annotations}}{{with index . "%s"}}{{.}}{{end}}{{end}}'
_LEADER = "{{.metadata.namespace}}|" + _NOTE % "leader" + '{{"\\n"}}'
_HOLDER = "{{.metadata.namespace}}|{{.metadata.name}}|" + _NOTE % EDGE_STATUS + '{{"\\n"}}'
_CONDITIONS = (
    '{{.kind}}|{{.metadata.name}}|{{range .status.conditions}}{{.type}}={{.status}}:{{.reason}},{{end}}{{"\\n"}}'
)
WATCHES = (
    Watch("primaries", ("configmaps", "-A", "--field-selector", f"metadata.name={LEADER}"), _LEADER, leader_line),
    Watch("holders", ("pods", "-A", "-l", EDGE), _HOLDER, holder_line),
    Watch("tenants", ("tenants.platform.oki-toki.net",), _CONDITIONS, condition_line),
    Watch("regions", ("voiceregions.platform.oki-toki.net",), _CONDITIONS, condition_line),
)


class Changes:
    """Lets through what is new: a watch repeats itself with every change of anything."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], str] = {}

    def of(self, seen: Sequence[dict[str, str]]) -> list[dict[str, str]]:
        found = []
        for one in seen:
            key = (one["event"], one["of"])
            if self._last.get(key) != one["is"]:
                self._last[key] = one["is"]
                found.append(one)
        return found


class Observers:
    """All watches, for the time of a `with` block."""

    def __init__(self, context: str, timeline: Timeline) -> None:
        self._command = (*kubectl_of(context), "get", "--watch")
        self._timeline = timeline
        self._stop = threading.Event()
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._threads = [threading.Thread(target=self._follow, args=(watch,), daemon=True) for watch in WATCHES]

    def __enter__(self) -> Observers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for process in list(self._running.values()):
            process.terminate()
        for thread in self._threads:
            thread.join(5)

    def _follow(self, watch: Watch) -> None:
        changes = Changes()
        while not self._stop.is_set():
            self._once(watch, changes)
            if not self._stop.is_set():
                self._timeline.note("blind", observer=watch.name)
            self._stop.wait(AGAIN_SECONDS)

    def _once(self, watch: Watch, changes: Changes) -> None:
        process = subprocess.Popen(
            [*self._command, *watch.arguments, "-o", f"go-template={watch.template}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._running[watch.name] = process
        assert process.stdout is not None  # noqa: S101 - asked for above
        for line in process.stdout:
            for change in changes.of(watch.read(line.rstrip("\n"))):
                self._timeline.note(change["event"], of=change["of"], **{"is": change["is"]})
        process.wait()
