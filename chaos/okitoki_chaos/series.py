"""What is drawn of a fault: success by quarter seconds, gaps, who was what. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from okitoki_chaos import verdict
from okitoki_load import recorder

BIN_SECONDS = 0.25
BEFORE_SECONDS, AFTER_SECONDS = 6.0, 5.0
GAP_SECONDS = 0.3
# A fault may last for a quarter of an hour; its drawing need not be finer than its pixels.
MOST_BINS = 900
MARKS = ("injecting", "bit", "healing", "healed", "whole", "blind", "stall")


@dataclass(frozen=True)
class Scene:
    """Times are epoch seconds. `writes`: tenant -> successes per bin from `begin`; `lanes`: what -> [from, to, who]."""

    begin: float
    end: float
    bin: float
    writes: Mapping[str, Sequence[int]]
    gaps: Mapping[str, Sequence[tuple[float, float]]]
    audio: Sequence[tuple[float, float]]
    lanes: Mapping[str, Sequence[tuple[float, float, str]]]
    marks: Sequence[tuple[float, str]]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def scene(facts: verdict.Facts, events: Sequence[Mapping[str, Any]], window: tuple[float, float]) -> Scene:
    """The drawing's data around one fault."""
    begin, end = window[0] - BEFORE_SECONDS, window[1] + AFTER_SECONDS
    width = max(BIN_SECONDS, (end - begin) / MOST_BINS)
    writes, gaps = {}, {}
    for name, tenant in facts.tenants.items():
        times = [time for time in recorder.successes(tenant.operations) if begin <= time <= end]
        writes[name] = histogram(times, begin, end, width)
        found = recorder.gaps(times, begin, end)
        gaps[name] = [(gap.at, gap.until) for gap in found if gap.seconds >= GAP_SECONDS]
    audio = [
        (gap["at"], gap["at"] + gap["ms"] / 1000)
        for call in facts.calls
        for way in (call.to_agent, call.to_caller)
        if way is not None
        for gap in way.gaps
        if gap["at"] <= end and gap["at"] + gap["ms"] / 1000 >= begin
    ]
    return Scene(
        begin=begin,
        end=end,
        bin=width,
        writes=writes,
        gaps=gaps,
        audio=sorted(audio)[:400],
        lanes=lanes(events, begin, end),
        marks=[(one["at"], one["event"]) for one in events if one["event"] in MARKS and begin <= one["at"] <= end],
    )


def histogram(times: Iterable[float], begin: float, end: float, width: float) -> list[int]:
    """How many fall into each bin."""
    found = [0] * (int((end - begin) / width) + 1)
    for time in times:
        found[int((time - begin) / width)] += 1
    return found


def lanes(events: Sequence[Mapping[str, Any]], begin: float, end: float) -> dict[str, list[tuple[float, float, str]]]:
    """Who was primary and who held which address, as pieces of time; what was so before counts until it changes."""
    changes: dict[str, list[tuple[float, str]]] = {}
    for one in events:
        if one["event"] in {"primary", "holder"} and one["at"] <= end:
            name = f"{'primary of ' if one['event'] == 'primary' else ''}{one['of']}"
            changes.setdefault(name, []).append((one["at"], one["is"]))
    found = {}
    for name, moments in sorted(changes.items()):
        ends = [at for at, _ in moments[1:]] + [end]
        pieces = [(max(at, begin), until, who) for (at, who), until in zip(moments, ends, strict=True)]
        found[name] = [piece for piece in pieces if piece[1] > begin]
    return found
