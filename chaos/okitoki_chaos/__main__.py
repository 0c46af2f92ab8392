"""`python -m okitoki_chaos drill|heal|watchdog|faults|self-check`: drills, inside the drill image.

`make drill` starts load, watchdog and `drill` in containers on the cluster's network, and judges afterwards.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from okitoki_chaos import plan as plans
from okitoki_chaos.cluster import ChaosError
from okitoki_chaos.driver import KindDriver, NotPossible
from okitoki_chaos.experiments import load
from okitoki_chaos.faults import FAULTS
from okitoki_chaos.journal import heal
from okitoki_chaos.session import Session, Settings, driver_of, journal_of, open_session
from okitoki_chaos.watchdog import watch

_begun = time.monotonic()


def say(words: str) -> None:
    """One line of progress with its time."""
    print(f"[{time.monotonic() - _begun:6.1f}s] {words}", flush=True)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="okitoki_chaos", description="Drills: faults, proofs, verdicts")
    commands = top.add_subparsers(dest="command", required=True)
    drill = commands.add_parser("drill", help="run the items of one session (FOLDER/session.json, FOLDER/items.json)")
    drill.add_argument("folder", type=Path)
    drill.add_argument("--hours", type=float, help="begin nothing after so long")
    drill.add_argument("--dry-run", action="store_true", help="print what would be done now, and do nothing")
    undo = commands.add_parser("heal", help="undo whatever a session's journal has open")
    undo.add_argument("folder", type=Path)
    dog = commands.add_parser("watchdog", help="undo what is beyond its time limit; everything at SIGTERM")
    dog.add_argument("folder", type=Path)
    staging = commands.add_parser("staging", help="a whole drill in this pod's cluster, as its release says")
    staging.add_argument("config", type=Path)
    staging.add_argument("results", type=Path, help="a folder that outlives the pod")
    staging.add_argument("--dry-run", action="store_true", help="print what would be done now, and do nothing")
    commands.add_parser("faults", help="all faults")
    check = commands.add_parser("self-check", help="show that servers which acknowledge and drop are caught")
    check.add_argument("folder", type=Path)
    return top


def drill(folder: Path, hours: float | None, dry: bool) -> int:
    """0 when every item was run, 1 when one left the platform broken or could not be undone."""
    from okitoki_chaos.runner import Runner, end_in_order

    items = [plans.Item(**one) for one in json.loads((folder / "items.json").read_text(encoding="utf-8"))]
    session = open_session(folder, say)
    if dry:
        return show(session, items)
    end_in_order()
    return 0 if Runner(session, folder, say).go(items, hours) else 1


def stage(config_file: Path, results: Path, dry: bool) -> int:
    """The verdict as an exit code; 2 when the drill was refused or cannot begin."""
    from okitoki_chaos.runner import end_in_order
    from okitoki_chaos.staging.config import Config
    from okitoki_chaos.staging.run import StagingDrill

    try:
        config = Config.read(config_file)
        settings = config.settings("dry", config.seed or 0, 0.0, {})
        driver = driver_of(settings)
        drill = StagingDrill(config, results, driver, say)
        if dry:
            with tempfile.TemporaryDirectory() as folder:
                return show(Session(settings, Path(folder), driver, say), drill.plan().items)
        end_in_order()
        return drill.go()
    except ChaosError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def show(session: Session, items: Sequence[plans.Item]) -> int:
    """What each item would do if it came first, on whom, and how that would be undone."""
    for item in items:
        session.begin(item.index)
        print(f"{item.name} on {item.tenant}, {item.moment:.3f} s after everything is well")
        try:
            planned = session.plan(load(item.experiment).faults, item.tenant, session.settings.regions[0])
        except NotPossible as error:
            print(f"  {error}")
            continue
        print("\n".join(f"  {line}" for line in planned.lines()))
    return 0


def undo(command: str, folder: Path) -> int:
    """`heal` at once, `watchdog` in time. In a cluster the folder is the release's configuration, and nothing is
    written there; its watchdog stays for the next drill, and may be replaced while a fault is open."""
    settings = Settings.read(folder)
    driver, local = driver_of(settings), settings.driver == KindDriver.name
    journal = journal_of(settings, driver, folder if local else None)
    if command == "watchdog":
        return watch(driver, journal, say, last=local)
    print("\n".join(heal(driver, journal, "a person")) or "nothing is open")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = parser().parse_args(arguments)
    try:
        if chosen.command == "drill":
            return drill(chosen.folder, chosen.hours, chosen.dry_run)
        if chosen.command == "staging":
            return stage(chosen.config, chosen.results, chosen.dry_run)
        if chosen.command in {"watchdog", "heal"}:
            return undo(chosen.command, chosen.folder)
        if chosen.command == "self-check":
            from okitoki_chaos.dishonest import write_self_check

            return write_self_check(chosen.folder / "self-check.json")
    except ChaosError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for fault in FAULTS.values():
        print(f"{fault.name:18} {fault.words}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
