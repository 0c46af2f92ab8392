"""The command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

from okitoki_kubectl.cluster import Cluster, KubectlError
from okitoki_kubectl.commands import drill
from okitoki_kubectl.commands.drain import drain_edge, undo
from okitoki_kubectl.commands.promote import promote
from okitoki_kubectl.commands.states import hibernate, wake
from okitoki_kubectl.commands.status import status
from okitoki_kubectl.view import Row, table
from okitoki_kubectl.waiting import Failed, Waiter

Do = Callable[[Cluster, argparse.Namespace, Waiter], "list[Row] | str"]
WAIT_SECONDS = 600


def _status(cluster: Cluster, given: argparse.Namespace, _: Waiter) -> str:
    return status(cluster, given.name, given.output)


def _promote(cluster: Cluster, given: argparse.Namespace, waiter: Waiter) -> list[Row]:
    return promote(cluster, given.name, given.member, waiter)


def _drain_edge(cluster: Cluster, given: argparse.Namespace, waiter: Waiter) -> list[Row]:
    if given.undo:
        return undo(cluster, given.name, waiter)
    return drain_edge(cluster, given.name, given.node, waiter)


def _hibernate(cluster: Cluster, given: argparse.Namespace, waiter: Waiter) -> list[Row]:
    return hibernate(cluster, given.name, given.timeout if given.wait else None, waiter)


def _wake(cluster: Cluster, given: argparse.Namespace, waiter: Waiter) -> list[Row]:
    return wake(cluster, given.name, given.timeout if given.wait else None, waiter)


def _drill(cluster: Cluster, given: argparse.Namespace, waiter: Waiter) -> list[Row]:
    if given.action == "run":
        return drill.run(cluster, given.plan, waiter)
    if given.action == "abort":
        return drill.abort(cluster, given.name, waiter)
    return drill.status(cluster)


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What subcommands are added to; argparse has no public name for it."""


def _command(commands: Commands, name: str, do: Do, text: str, *aliases: str) -> argparse.ArgumentParser:
    one: argparse.ArgumentParser = commands.add_parser(name, aliases=aliases, help=text, description=text)
    one.add_argument("-o", "--output", choices=["table", "json"], default="table")
    one.set_defaults(do=do)
    return one


def _add_drill(commands: Commands) -> None:
    text = "the drills of chart okitoki-drills: begin one, see all, end one"
    actions = commands.add_parser("drill", help=text, description=text).add_subparsers(dest="action", required=True)
    began = _command(actions, "run", _drill, "begin a drill now; the log of its Job ends with the verdict")
    began.add_argument("--plan", help="of the plans that are installed (the only one)")
    _command(actions, "status", _drill, "all drills that the cluster still knows")
    ended = _command(actions, "abort", _drill, "tell a drill to end; it undoes its open fault first")
    ended.add_argument("name", nargs="?", help="name of the drill (the one that runs)")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(prog="kubectl okitoki", description="Oki-Toki at a glance, and what is planned.")
    made.add_argument("--context", help="context of the kubeconfig")
    made.add_argument("--kubeconfig", help="path of the kubeconfig")
    commands = made.add_subparsers(dest="command", required=True)

    def command(name: str, do: Do, text: str, *aliases: str) -> argparse.ArgumentParser:
        return _command(commands, name, do, text, *aliases)

    shown = command("status", _status, "all Tenants and VoiceRegions, or one with its conditions")
    shown.add_argument("name", nargs="?", help="name of a Tenant or VoiceRegion")
    promoted = command(
        "promote", _promote, "have a synchronous standby take a Tenant's database over, without loss", "switchover"
    )
    promoted.add_argument("name", metavar="tenant", help="name of a Tenant")
    promoted.add_argument("member", nargs="?", help="which one, such as postgres-1 (the one that has most)")
    drained = command(
        "drain-edge", _drain_edge, "move every address off a node of a VoiceRegion, and keep them off; calls stay"
    )
    drained.add_argument("name", metavar="region", help="name of a VoiceRegion")
    which = drained.add_mutually_exclusive_group()
    which.add_argument("--node", help="name of the node (the one of the region that holds fewest addresses)")
    which.add_argument("--undo", action="store_true", help="let the drained node hold addresses again")
    for name, do, text in (
        ("hibernate", _hibernate, "put a Tenant to sleep: nothing runs, its data are kept"),
        ("wake", _wake, "wake a Tenant that sleeps"),
    ):
        changed = command(name, do, text)
        changed.add_argument("name", metavar="tenant", help="name of a Tenant")
        changed.add_argument("--wait", action="store_true", help="until it is so; progress goes to standard error")
        changed.add_argument("--timeout", type=float, default=WAIT_SECONDS, help="of --wait, in seconds (%(default)s)")
    _add_drill(commands)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when done, 1 when refused or failed, 2 for wrong arguments."""
    given = parser().parse_args(arguments)
    chosen = [f"--{word}={value}" for word in ("context", "kubeconfig") if (value := getattr(given, word))]
    try:
        found = given.do(Cluster(chosen), given, Waiter())
    except (Failed, KubectlError) as error:
        print(f"kubectl okitoki: {error}", file=sys.stderr)
        return 1
    if not isinstance(found, str):
        found = json.dumps(found, indent=2) if given.output == "json" else table(found)
    print(found)
    return 0
