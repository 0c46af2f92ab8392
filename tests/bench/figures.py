"""From raw figures to what people read. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.subject import OKITOKI, PEER

Run = Mapping[str, Any]
"""One measurement, as `bench.run.measured` gives it."""

Figure = Callable[[Run], float]
ROWS: Sequence[tuple[str, Figure, str]] = (
    ("time until all are Ready, s", lambda run: run["converge"]["seconds"], ".0f"),
    ("Tenants made ready per second", lambda run: run["converge"]["tenantsPerSecond"], ".2f"),
    ("reconciles per second", lambda run: run["converge"]["reconcilesPerSecond"], ".1f"),
    ("reconciles per Tenant", lambda run: run["converge"]["reconciles"] / run["tenants"], ".1f"),
    ("writes per Tenant", lambda run: run["writesPerTenant"], ".1f"),
    ("API calls per Tenant", lambda run: sum(run["callsPerTenant"].values()), ".1f"),
    ("CPU of the operator per Tenant, ms", lambda run: _milli(run, "operatorCpuSeconds"), ".0f"),
    ("CPU of API server and etcd per Tenant, ms", lambda run: _milli(run, "apiServerCpuSeconds"), ".0f"),
    ("memory at rest, MiB", lambda run: run["memory"]["restMiB"], ".0f"),
    ("memory at its peak, MiB", lambda run: run["memory"]["peakMiB"], ".0f"),
    ("writes in a minute of rest", lambda run: run["rest"]["writes"], ".0f"),
    ("CPU in a minute of rest, s", lambda run: run["rest"]["cpuSeconds"], ".2f"),
    ("one change among all, median, ms", lambda run: statistics.median(run["change"]["milliseconds"]), ".0f"),
    ("one change among all, worst of 20, ms", lambda run: max(run["change"]["milliseconds"]), ".0f"),
    ("start with all of them there, s", lambda run: run["start"]["seconds"], ".1f"),
    ("memory at its peak in that start, MiB", lambda run: run["start"]["peakMiB"], ".0f"),
    ("writes in that start", lambda run: run["start"]["writes"], ".0f"),
)


def _milli(run: Run, which: str) -> float:
    return float(run["converge"][which] / run["tenants"] * 1000)


def sizes(runs: Sequence[Run]) -> list[int]:
    """Numbers of Tenants that were measured."""
    return sorted({run["tenants"] for run in runs})


def of(runs: Sequence[Run], subject: str, size: int) -> Run | None:
    """The latest measurement of an operator with a number of Tenants."""
    return next((run for run in reversed(runs) if (run["subject"], run["tenants"]) == (subject, size)), None)


def tables(runs: Sequence[Run]) -> str:
    """One table for each number of Tenants, in Markdown."""
    return "\n".join(_table(runs, size) for size in sizes(runs))


def _table(runs: Sequence[Run], size: int) -> str:
    ours, peer = of(runs, OKITOKI, size), of(runs, PEER, size)
    lines = [f"### {size:,} Tenants", "", "| | Oki-Toki | peer | Oki-Toki / peer |", "|---|---:|---:|---:|"]
    for title, figure, form in ROWS:
        one, other = (figure(run) if run else None for run in (ours, peer))
        lines.append(f"| {title} | {_cell(one, form)} | {_cell(other, form)} | {ratio(one, other)} |")
    lines.append(f"| API calls per Tenant by verb | {_verbs(ours)} | {_verbs(peer)} | |")
    return "\n".join(lines) + "\n"


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, "," + form)


def ratio(one: float | None, other: float | None) -> str:
    """`one` in units of `other`; a dash where there is nothing to divide by."""
    return f"{one / other:.2f}" if one is not None and other else "–"


def _verbs(run: Run | None) -> str:
    return ", ".join(f"{verb} {count:.1f}" for verb, count in run["callsPerTenant"].items()) if run else "–"


def same_work(runs: Sequence[Run]) -> list[str]:
    """Why a comparison would be none: the two made different numbers of objects."""
    found = []
    for size in sizes(runs):
        ours, peer = of(runs, OKITOKI, size), of(runs, PEER, size)
        if ours and peer and ours["ownedObjects"] != peer["ownedObjects"]:
            found.append(f"{size} Tenants: {ours['ownedObjects']} objects against the peer's {peer['ownedObjects']}")
    return found
