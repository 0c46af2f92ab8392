"""The two Go programs of the bench, built at its start from the pinned modules (go.sum)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent


def build_programs(folder: Path) -> dict[str, Path]:
    """`peer` and `simulator` in `folder`; Go's own cache makes the second time quick.

    Raises:
        subprocess.CalledProcessError: when they don't build; Go has said why on stderr.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    found = {}
    for name in ("peer", "simulator"):
        found[name] = folder / name
        command = ["go", "build", "-trimpath", "-o", str(found[name]), f"./{name}"]
        subprocess.run(command, cwd=SOURCES, env=environment, check=True)
    return found
