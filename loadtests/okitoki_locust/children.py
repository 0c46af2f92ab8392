"""Processes beside Locust's own: where they find our modules."""

from __future__ import annotations

import os
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1]


def environment() -> dict[str, str]:
    """This process's environment. Locust takes the locustfile's folder off the search path again, so it is given."""
    path = [str(SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
