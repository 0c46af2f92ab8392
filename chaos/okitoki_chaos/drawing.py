"""A fault's timeline as SVG: load and gaps by tenant, audio gaps, primaries, holders of addresses. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, LEFT, ROW, CURVE = 1000, 150, 20, 44
COLOURS = ("#3b6fb6", "#c9822b", "#4f9d69", "#8e5ea2", "#b65555", "#5a8f9c")
MARKS = {
    "injecting": "#b00020",
    "bit": "#d65f00",
    "healing": "#7a9a00",
    "healed": "#2e7d32",
    "whole": "#1565c0",
    "blind": "#999999",
    "stall": "#cc66cc",
}


# Written out, the first time after the injection.
LABELLED = ("injecting", "healing", "whole")


class Canvas:
    """Elements, and where the next row goes."""

    def __init__(self, begin: float, end: float) -> None:
        self.parts: list[str] = []
        self.top = 14.0
        self._begin = begin
        self._scale = (WIDTH - LEFT) / max(end - begin, 0.001)

    def x(self, at: float) -> float:
        return round(LEFT + (at - self._begin) * self._scale, 1)

    def label(self, text: str, height: float) -> None:
        y = self.top + height / 2 + 4
        self.parts.append(f'<text x="{LEFT - 6}" y="{y:.1f}" text-anchor="end">{escape(text)}</text>')

    def bar(self, begin: float, end: float, height: float, colour: str, title: str, opacity: float = 1.0) -> None:
        x = max(self.x(begin), float(LEFT))
        width = max(round(self.x(end) - x, 1), 0.6)
        self.parts.append(
            f'<rect x="{x}" y="{self.top:.1f}" width="{width}" height="{height:.1f}" fill="{colour}"'
            f' opacity="{opacity}"><title>{escape(title)}</title></rect>'
        )

    def text(self, at: float, words: str) -> None:
        x = max(self.x(at), float(LEFT)) + 3
        self.parts.append(f'<text x="{x}" y="{self.top + 13:.1f}" class="in">{escape(words)}</text>')


def draw(scene: Mapping[str, Any]) -> str:
    """One fault."""
    canvas = Canvas(scene["begin"], scene["end"])
    for name, counts in scene["writes"].items():
        _curve(canvas, scene, name, counts)
    if scene["audio"]:
        canvas.label("audio gaps", ROW)
        for begin, end in scene["audio"]:
            canvas.bar(begin, end, ROW - 6, "#8e5ea2", f"{(end - begin) * 1000:.0f} ms", 0.5)
        canvas.top += ROW
    colours: dict[str, str] = {}
    for name, pieces in scene["lanes"].items():
        canvas.label(name, ROW - 4)
        for begin, end, who in pieces:
            colour = colours.setdefault(who, COLOURS[len(colours) % len(COLOURS)])
            canvas.bar(begin, end, ROW - 4, colour, f"{name}: {who}", 0.75)
            canvas.text(begin, who)
        canvas.top += ROW
    return _finish(canvas, scene)


def _curve(canvas: Canvas, scene: Mapping[str, Any], name: str, counts: Sequence[int]) -> None:
    """Successes per bin as a step line, gaps as red bars behind it."""
    canvas.label(f"writes of {name}", CURVE)
    for begin, end in scene["gaps"][name]:
        canvas.bar(begin, end, CURVE, "#e53935", f"no write of {name} for {end - begin:.2f} s", 0.3)
    most = max(max(counts, default=0), 1)
    bottom = canvas.top + CURVE
    points = []
    for index, count in enumerate(counts):
        y = round(bottom - count / most * (CURVE - 4), 1)
        for edge in (index, index + 1):
            x = min(canvas.x(scene["begin"] + edge * scene["bin"]), WIDTH)
            points.append(f"{x},{y}")
    canvas.parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="#37474f" stroke-width="1"/>')
    canvas.top += CURVE + 6


def _finish(canvas: Canvas, scene: Mapping[str, Any]) -> str:
    height = canvas.top + 22
    injected = _injected(scene)
    later = [(at, event) for at, event in scene["marks"] if at >= injected]
    for at, event in scene["marks"]:
        x = canvas.x(at)
        colour = MARKS.get(event, "#000000")
        canvas.parts.append(
            f'<line x1="{x}" y1="12" x2="{x}" y2="{canvas.top:.1f}" stroke="{colour}" stroke-dasharray="3 2">'
            f"<title>{escape(event)}</title></line>"
        )
        if event in LABELLED and at == next((then for then, what in later if what == event), None):
            canvas.parts.append(f'<text x="{x + 2}" y="10" fill="{colour}">{escape(event)}</text>')
    canvas.parts += _axis(canvas, scene)
    body = "".join(canvas.parts)
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" width="100%" role="img">{body}</svg>'


def _injected(scene: Mapping[str, Any]) -> float:
    """When the fault was injected; the beginning of the drawing when that is not in it."""
    return float(next((at for at, event in scene["marks"] if event == "injecting"), scene["begin"]))


def _axis(canvas: Canvas, scene: Mapping[str, Any]) -> list[str]:
    """Seconds from the injection (or from the beginning of the drawing)."""
    zero = _injected(scene)
    length = scene["end"] - scene["begin"]
    step = next(one for one in (1, 2, 5, 10, 30, 60, 120, 300, 600, 3600) if length / one <= 20 or one == 3600)
    first = -int((zero - scene["begin"]) // step) * step
    marks = []
    seconds = first
    while zero + seconds <= scene["end"]:
        x = canvas.x(zero + seconds)
        marks.append(f'<text x="{x}" y="{canvas.top + 14:.1f}" text-anchor="middle" class="axis">{seconds} s</text>')
        seconds += step
    return marks
