"""A container runtime that asks for no capability this machine lacks, and otherwise is runc.

Docker gives a privileged container every capability it knows of; without CAP_SYS_RESOURCE the kernel refuses that. This
file is copied into the cluster's state with an interpreter line, and is used only where the capability is missing, so
it imports nothing of this project.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

MISSING = "CAP_SYS_RESOURCE"


def option(arguments: list[str], name: str) -> str | None:
    """The value of `--name VALUE` or `--name=VALUE`."""
    for position, argument in enumerate(arguments):
        if argument == name and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(name + "="):
            return argument[len(name) + 1 :]
    return None


def without_missing(process: dict[str, Any]) -> dict[str, Any]:
    """The OCI process with the missing capability taken out of each of its sets."""
    sets = process.get("capabilities") or {}
    slimmer = {name: [one for one in listed or [] if one != MISSING] for name, listed in sets.items()}
    return {**process, "capabilities": slimmer} if sets else process


def rewrite(arguments: list[str]) -> None:
    """Change the specification that this call of runc is about to read."""
    bundle, process = option(arguments, "--bundle"), option(arguments, "--process")
    if bundle is not None:
        file = Path(bundle) / "config.json"
        specification = json.loads(file.read_text())
        specification["process"] = without_missing(specification.get("process") or {})
        file.write_text(json.dumps(specification))
    if process is not None:
        file = Path(process)
        file.write_text(json.dumps(without_missing(json.loads(file.read_text()))))


if __name__ == "__main__":
    rewrite(sys.argv[1:])
    os.execvp("runc", ["runc", *sys.argv[1:]])  # noqa: S606
