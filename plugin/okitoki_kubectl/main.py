"""The command line."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from okitoki_kubectl.cluster import Cluster, KubectlError, Resource
from okitoki_kubectl.view import condition_rows, region_row, table, tenant_row

SWITCHOVER = "platform.oki-toki.net/switchover"
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 1.0


class Failed(Exception):
    """What was asked for was not done; says why and what to do."""


def status(cluster: Cluster, name: str | None, output: str) -> str:
    """The whole platform, or one Tenant or VoiceRegion with its conditions; raises `Failed`, `KubectlError`."""
    tenants, regions = _named(cluster, "tenants", name), _named(cluster, "voiceregions", name)
    if name is not None and not tenants and not regions:
        raise Failed(f"there is neither a Tenant nor a VoiceRegion {name}: see kubectl okitoki status")
    rows = {"tenants": [tenant_row(item) for item in tenants], "regions": [region_row(item) for item in regions]}
    if name is None:
        if output == "json":
            return json.dumps(rows, indent=2)
        return f"Tenants\n{table(rows['tenants'])}\n\nVoiceRegions\n{table(rows['regions'])}"
    if output == "json":
        for found, row in zip([*tenants, *regions], [*rows["tenants"], *rows["regions"]], strict=True):
            row["conditions"] = condition_rows(found)
        return json.dumps(rows, indent=2)
    return "\n\n".join(
        f"{item['kind']}\n{table([row])}\n\n{table(condition_rows(item))}"
        for item, row in zip([*tenants, *regions], [*rows["tenants"], *rows["regions"]], strict=True)
    )


def switchover(
    cluster: Cluster,
    name: str,
    output: str,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Ask the operator for another primary and wait for its answer; raises `Failed`, `KubectlError`."""
    _tenant(cluster, name)
    request = now().isoformat(timespec="microseconds").replace("+00:00", "Z")
    cluster.annotate("tenants", name, SWITCHOVER, request)
    deadline = clock() + PATIENCE_SECONDS
    while clock() < deadline:
        database = (_tenant(cluster, name).get("status") or {}).get("database") or {}
        answer = database.get("lastSwitchover") or {}
        if answer.get("requested") == request:
            if not answer["succeeded"]:
                raise Failed(f"the primary of {name} was not changed: {answer['message']}")
            return json.dumps(answer) if output == "json" else f"{name}: {answer['message']}"
        sleep(LOOK_SECONDS)
    raise Failed(
        f"no answer in {PATIENCE_SECONDS:.0f} s: does the operator run? See kubectl okitoki status {name}, and "
        f"kubectl annotate tenant {name} {SWITCHOVER}- to take a request back that is still there"
    )


def _named(cluster: Cluster, kind: str, name: str | None) -> list[Resource]:
    """The one of that name, if there is one; all when no name is given."""
    if name is None:
        return cluster.all(kind)
    found = cluster.one(kind, name)
    return [] if found is None else [found]


def _tenant(cluster: Cluster, name: str) -> Resource:
    found = cluster.one("tenants", name)
    if found is None:
        raise Failed(f"there is no Tenant {name}: see kubectl okitoki status")
    return found


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(prog="kubectl okitoki", description="Oki-Toki at a glance, and switchovers.")
    made.add_argument("--context", help="context of the kubeconfig")
    made.add_argument("--kubeconfig", help="path of the kubeconfig")
    commands = made.add_subparsers(dest="command", required=True)
    shown = commands.add_parser("status", help="all Tenants and VoiceRegions, or one with its conditions")
    shown.add_argument("name", nargs="?", help="name of a Tenant or VoiceRegion")
    changed = commands.add_parser("switchover", help="have a synchronous standby take a Tenant's database over")
    changed.add_argument("name", help="name of a Tenant")
    for one in (shown, changed):
        one.add_argument("-o", "--output", choices=["table", "json"], default="table")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when done, 1 when refused or failed, 2 for wrong arguments."""
    given = parser().parse_args(arguments)
    chosen = [f"--{word}={value}" for word in ("context", "kubeconfig") if (value := getattr(given, word))]
    cluster = Cluster(chosen)
    try:
        do = status if given.command == "status" else switchover
        print(do(cluster, given.name, given.output))
    except (Failed, KubectlError) as error:
        print(f"kubectl okitoki: {error}", file=sys.stderr)
        return 1
    return 0
