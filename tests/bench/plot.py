"""The figures as an SVG: bars by number of Tenants, the two operators side by side. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench import figures
from bench.subject import OKITOKI, PEER

PANEL, HEIGHT, TOP, BOTTOM, BAR = 250, 230, 46, 40, 26
COLOURS = {OKITOKI: "#3b6fb6", PEER: "#c9822b"}
TITLES = {OKITOKI: "Oki-Toki", PEER: "controller-runtime peer"}
PANELS: Sequence[tuple[str, figures.Figure]] = (
    ("Tenants made ready per second", lambda run: run["converge"]["tenantsPerSecond"]),
    ("memory at rest, MiB", lambda run: run["memory"]["restMiB"]),
    ("memory at its peak, MiB", lambda run: max(run["memory"]["peakMiB"], run["start"]["peakMiB"])),
    ("worst of 20 changes, ms", lambda run: max(run["change"]["milliseconds"])),
)


def draw(runs: Sequence[figures.Run]) -> str:
    """A panel for each of `PANELS`; each has its own scale, from zero."""
    width = PANEL * len(PANELS)
    parts = [part for index, panel in enumerate(PANELS) for part in _panel(runs, index * PANEL, *panel)]
    parts += _legend()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" '
        f'role="img" font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _legend() -> list[str]:
    parts = []
    for index, (name, title) in enumerate(TITLES.items()):
        x = 12 + index * 90
        parts.append(f'<rect x="{x}" y="8" width="10" height="10" fill="{COLOURS[name]}"/>')
        parts.append(f'<text x="{x + 14}" y="17">{escape(title)}</text>')
    return parts


def _panel(runs: Sequence[figures.Run], left: int, title: str, figure: figures.Figure) -> list[str]:
    bottom, sizes = HEIGHT - BOTTOM, figures.sizes(runs)
    values = {(name, size): figure(run) for name in TITLES for size in sizes if (run := figures.of(runs, name, size))}
    scale = (bottom - TOP - 14) / max([*values.values(), 1e-9])
    parts = [f'<text x="{left + 12}" y="{TOP - 10}" font-weight="bold">{escape(title)}</text>']
    step = (PANEL - 24) / max(len(sizes), 1)
    for group, size in enumerate(sizes):
        middle = left + 12 + step * (group + 0.5)
        for side, name in ((-1, OKITOKI), (0, PEER)):
            if (name, size) in values:
                parts += _bar(middle + side * BAR, bottom, values[name, size], scale, COLOURS[name])
        parts.append(f'<text x="{middle:.1f}" y="{bottom + 15}" text-anchor="middle">{size:,}</text>')
    parts.append(f'<line x1="{left + 12}" y1="{bottom}" x2="{left + PANEL - 12}" y2="{bottom}" stroke="#37474f"/>')
    parts.append(f'<text x="{left + PANEL / 2}" y="{bottom + 30}" text-anchor="middle" fill="#666666">Tenants</text>')
    return parts


def _bar(x: float, bottom: float, value: float, scale: float, colour: str) -> list[str]:
    height = value * scale
    word = f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return [
        f'<rect x="{x + 1:.1f}" y="{bottom - height:.1f}" width="{BAR - 2}" height="{height:.1f}" fill="{colour}"/>',
        f'<text x="{x + BAR / 2:.1f}" y="{bottom - height - 3:.1f}" text-anchor="middle" font-size="9">{word}</text>',
    ]
