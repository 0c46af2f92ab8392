"""`python -m okitoki_local`: the command line over the modules beside it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from okitoki_local.environment import Environment
from okitoki_local.system import LocalClusterError


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    top = argparse.ArgumentParser(prog="okitoki_local", description="The local Kubernetes cluster and its images")
    commands = top.add_subparsers(dest="command", required=True)
    cluster = commands.add_parser("cluster", help="the cluster itself (its name: OKITOKI_CLUSTER, default okitoki)")
    verbs = ("up", "down", "status", "env", "tools", "clean-cache")
    cluster.add_argument("verb", choices=verbs, help='env prints shell exports: eval "$(... cluster env)"')
    load = commands.add_parser("load", help="load images of the cluster's Docker daemon into the workers")
    load.add_argument("images", nargs="+", metavar="IMAGE")
    base = commands.add_parser("base", help="make the Debian base image okitoki/base-NAME:local")
    base.add_argument("name")
    base.add_argument("--suite", default="trixie")
    base.add_argument("--packages-file", type=Path, required=True, help="package names; # starts a comment")
    images = commands.add_parser("images", help="build the project's images that changed and load them into the nodes")
    images.add_argument("names", nargs="*", metavar="NAME", help="all when none is named")
    images.add_argument(
        "--contexts", type=Path, metavar="FOLDER", help="only write build contexts, for another builder"
    )
    demo = commands.add_parser("demo", help="install the platform, run calls and writes, kill servers, give a verdict")
    demo.add_argument("--traffic-only", action="store_true", help="on the platform as it is: install and apply nothing")
    demo.add_argument("--no-faults", action="store_true", help="kill nothing")
    demo.add_argument("--seed", type=int, help="of the faults' moments and the calls; by default the time")
    load_test = commands.add_parser("load-test", help="run Locust on a tenant, in a container on the cluster's network")
    load_test.add_argument("--agents", type=int, default=0, help="phones of agents; with them one caller")
    load_test.add_argument("--web", action="store_true", help="Locust's web page instead of a run at once")
    load_test.add_argument("tenant")
    load_test.add_argument("words", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="of Locust, and ours")
    drill = commands.add_parser("drill", help="faults under load, each with a verdict (docs/drills.md)")
    drill.add_argument("--plan", default="smoke", help="a file of chaos/plans: smoke, full, voice, soak, controls")
    drill.add_argument("--seed", type=int, help="of targets, moments and order; by default the time")
    drill.add_argument(
        "--only", action="extend", nargs="+", default=[], metavar="EXPERIMENT", help="only these of the plan"
    )
    drill.add_argument("--hours", type=float, help="of a plan that draws its faults")
    drill.add_argument("--resume", type=Path, metavar="FOLDER", help="go on with an interrupted drill")
    drill.add_argument("--dry-run", action="store_true", help="print what would be done now, and do nothing")
    drill.add_argument(
        "--times", choices=("judged", "reported"), default="judged",
        help="reported: a gap beyond its goal is no failure, for machines that other work shares (CI)",
    )  # fmt: skip
    drill.add_argument("--as-it-is", action="store_true", help="on the platform as it is: install and apply nothing")
    run = commands.add_parser("run", help="run a command with the cluster's variables, in its network if it is up")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error that the user can act on is one line, not a traceback."""
    chosen = parser().parse_args(arguments)
    try:
        return _run(chosen, Environment.detect())
    except LocalClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(chosen: argparse.Namespace, env: Environment) -> int:
    if chosen.command == "cluster":
        return _cluster(chosen.verb, env)
    if chosen.command == "load":
        from okitoki_local.images import load_images

        load_images(env, chosen.images)
        return 0
    if chosen.command == "images":
        return _images(chosen, env)
    if chosen.command == "demo":
        from okitoki_local.demo.run import Options, demo

        return demo(env, Options(chosen.traffic_only, not chosen.no_faults, chosen.seed))
    if chosen.command == "load-test":
        from okitoki_local.load import LoadTest, load_test

        return load_test(env, LoadTest(chosen.tenant, chosen.agents, chosen.web, tuple(chosen.words)))
    if chosen.command == "drill":
        return _drill(chosen, env)
    if chosen.command == "run":
        return env.run(chosen.words, inside=_is_up(env), check=False, capture=False).returncode
    from okitoki_local.bases import ensure_base, parse_packages

    print(ensure_base(env, chosen.name, parse_packages(chosen.packages_file.read_text()), chosen.suite))
    return 0


def _drill(chosen: argparse.Namespace, env: Environment) -> int:
    from okitoki_local.drill.run import Options, drill

    resume = chosen.resume.resolve() if chosen.resume is not None else None
    return drill(
        env,
        Options(
            plan=chosen.plan, seed=chosen.seed, only=tuple(chosen.only), hours=chosen.hours, resume=resume,
            dry_run=chosen.dry_run, as_it_is=chosen.as_it_is, times_judged=chosen.times == "judged",
        ),
    )  # fmt: skip


def _images(chosen: argparse.Namespace, env: Environment) -> int:
    from okitoki_local import builder

    if chosen.contexts is not None:
        print("\n".join(map(str, builder.write_contexts(env, chosen.contexts, chosen.names))))
        return 0
    for name, reference in builder.build_images(env, chosen.names).items():
        print(f"{name} {reference}")
    return 0


def _is_up(env: Environment) -> bool:
    return env.netns is not None and Path(f"/run/netns/{env.netns}").exists()


def _cluster(verb: str, env: Environment) -> int:
    if verb == "env":
        # Evaluated by shells all the time, so it imports nothing that it does not need.
        print(env.exports())
        return 0
    from okitoki_local import cluster

    if verb == "status":
        return cluster.status(env)
    actions = {"up": cluster.up, "down": cluster.down, "tools": cluster.tools, "clean-cache": cluster.clean_cache}
    actions[verb](env)
    return 0
