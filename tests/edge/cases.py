"""Programs on the lab that are a class of cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab import Lab, argument_parser, judged, parse, session


def run_cases(text: str | None, of: Callable[[Lab, Path], object]) -> int:
    """Every case of a class, its methods `c_…`, or those that the command line names, each on what the one before has
    left; the exit code."""
    names = [name.removeprefix("c_") for name in vars(of) if name.startswith("c_")]
    options = parse(argument_parser(text), "case", names)
    with session(options.tree, options.site, options.keep) as lab:
        lab.wait_good(60)
        made = of(lab, lab.work / "calls")
        results = [judged(name, *getattr(made, f"c_{name}")()) for name in options.chosen]
    return 0 if results and all(results) else 1
