"""Tables and plot of the measurements."""

from __future__ import annotations

import re
from typing import Any

import pytest
from bench import figures, plot
from bench.__main__ import BEGIN, END, with_figures
from bench.subject import OKITOKI, PEER


def a_run(subject: str, tenants: int = 100, seconds: float = 50.0, **changes: Any) -> dict[str, Any]:
    return {
        "subject": subject,
        "tenants": tenants,
        "converge": {
            "seconds": seconds,
            "tenantsPerSecond": tenants / seconds,
            "reconciles": tenants * 4,
            "reconcilesPerSecond": tenants * 4 / seconds,
            "operatorCpuSeconds": 10.0,
            "apiServerCpuSeconds": 20.0,
        },
        "callsPerTenant": {"get": 3.0, "patch": 30.0},
        "writesPerTenant": 30.0,
        "ownedObjects": 31,
        "rest": {"seconds": 60.0, "writes": 0, "reads": 5, "cpuSeconds": 0.5},
        "change": {"milliseconds": [40.0, 50.0, 700.0]},
        "memory": {"peakMiB": 120.0, "restMiB": 100.0},
        "start": {
            "seconds": 9.0,
            "resolutionSeconds": 0.25,
            "cpuSeconds": 8.0,
            "peakMiB": 130.0,
            "restMiB": 90.0,
            "writes": 0,
        },
        **changes,
    }


def test_a_table_holds_both_and_their_ratio() -> None:
    lines = figures.tables([a_run(OKITOKI, seconds=50.0), a_run(PEER, seconds=25.0)]).splitlines()
    assert lines[0] == "### 100 Tenants"
    assert "| time until all are Ready, s | 50 | 25 | 2.00 |" in lines
    assert "| API calls per Tenant | 33.0 | 33.0 | 1.00 |" in lines
    assert "| one change among all, worst of 20, ms | 700 | 700 | 1.00 |" in lines
    assert "| writes in a minute of rest | 0 | 0 | – |" in lines


def test_what_was_not_measured_is_a_dash() -> None:
    assert "| memory at rest, MiB | 100 | – | – |" in figures.tables([a_run(OKITOKI)])


def test_the_latest_of_several_measurements_counts() -> None:
    found = figures.of([a_run(PEER, seconds=1.0), a_run(PEER, seconds=2.0), a_run(OKITOKI)], PEER, 100)
    assert found is not None
    assert found["converge"]["seconds"] == 2.0


def test_different_work_is_no_comparison() -> None:
    assert figures.same_work([a_run(OKITOKI), a_run(PEER)]) == []
    assert figures.same_work([a_run(OKITOKI), a_run(PEER, ownedObjects=30)]) == [
        "100 Tenants: 31 objects against the peer's 30"
    ]


def test_the_plot_has_a_bar_for_each_measurement_in_each_panel_and_none_is_higher_than_its_panel() -> None:
    runs = [a_run(name, size) for name in (OKITOKI, PEER) for size in (100, 1000)]
    tops = re.findall(rf'<rect x="[0-9.]+" y="([0-9.]+)" width="{plot.BAR - 2}"', plot.draw(runs))
    assert len(tops) == len(runs) * len(plot.PANELS)
    assert all(plot.TOP <= float(top) <= plot.HEIGHT - plot.BOTTOM for top in tops)


def test_the_page_gets_the_tables_between_its_marks_and_keeps_the_rest() -> None:
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\nafter\n"
    assert with_figures(page, "new\n") == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nafter\n"
    assert with_figures(with_figures(page, "new\n"), "new\n") == with_figures(page, "new\n")
    with pytest.raises(ValueError, match="must hold the lines"):
        with_figures("# Title\n", "new\n")
