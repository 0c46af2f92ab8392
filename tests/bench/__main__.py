"""See the package."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import figures, plot
from bench.build import build_programs
from bench.run import Programs, measured
from bench.subject import OKITOKI, PEER, ROOT
from okitoki_local import versions

RESULTS = ROOT / "build" / "bench" / "results.json"
PUBLISHED = ROOT / "docs" / "benchmark"
PAGE = ROOT / "docs" / "benchmark.md"
BEGIN, END = "<!-- figures: begin (make bench-operator, then make bench-publish) -->", "<!-- figures: end -->"


def say(text: str) -> None:
    """A line of progress."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def run(sizes: Sequence[int], subjects: Sequence[str], results: Path, keep: Path | None) -> None:
    """Measure; what has been measured so far is in `results` after each step."""
    found: dict[str, Any] = {"when": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine(), "runs": []}
    with tempfile.TemporaryDirectory(prefix="okitoki-bench-") as scratch:
        folder = keep or Path(scratch)
        say("building the peer and the simulator")
        built = build_programs(folder / "bin")
        programs = Programs(built["peer"], built["simulator"])
        for size in sizes:
            for subject in subjects:
                say(f"{subject}, {size} Tenants")
                place = folder / f"{subject}-{size}-{time.time_ns()}"
                found["runs"].append(asyncio.run(measured(subject, size, place, programs, say)))
                results.parent.mkdir(parents=True, exist_ok=True)
                results.write_text(json.dumps(found, indent=1) + "\n")
    print(figures.tables(found["runs"]))
    if strange := figures.same_work(found["runs"]):
        raise SystemExit(f"the two operators did not do the same work: {'; '.join(strange)}")


def machine() -> dict[str, Any]:
    """What it ran on, without a name of it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpus": os.cpu_count(),
        "memoryGiB": round(memory),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "kubernetes": versions.KUBERNETES,
        "etcd": versions.ETCD,
        "kopf": version("kopf"),
        "niceness": os.nice(0),
    }


def publish(results: Path) -> None:
    """Raw figures, plot and tables into docs/."""
    text = results.read_text()
    found = json.loads(text)
    PUBLISHED.mkdir(parents=True, exist_ok=True)
    (PUBLISHED / "results.json").write_text(text)
    (PUBLISHED / "figures.svg").write_text(plot.draw(found["runs"]))
    PAGE.write_text(with_figures(PAGE.read_text(), figures.tables(found["runs"])))


def with_figures(page: str, tables: str) -> str:
    """The page with the tables in their place. Raises ValueError when the page has no place for them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page must hold the lines {BEGIN} and {END}")
    return f"{before}{begin}\n\n{tables}\n{end}{after}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("run", help="measure")
    measuring.add_argument("--sizes", default="100,1000,5000", help="numbers of Tenants, such as 100,1000")
    measuring.add_argument("--subjects", default=f"{OKITOKI},{PEER}", help="which operators")
    measuring.add_argument("--results", type=Path, default=RESULTS)
    measuring.add_argument("--keep", type=Path, help="keep logs and data in this folder")
    publishing = commands.add_parser("publish", help="write docs/benchmark.md and docs/benchmark/")
    publishing.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    if given.command == "publish":
        publish(given.results)
        return
    sizes = [int(size) for size in given.sizes.split(",")]
    run(sizes, given.subjects.split(","), given.results, given.keep)


if __name__ == "__main__":
    main()
