"""Cache keys: the hash of everything an artefact is made from, so that nothing stale is ever reused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

KEY_LENGTH = 12


def key_of(*inputs: Any) -> str:
    """A short hash of JSON-like inputs, the same in every process and on every machine."""
    canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":"), default=_refuse)
    return hashlib.sha256(canonical.encode()).hexdigest()[:KEY_LENGTH]


def key_of_files(*files: Path) -> str:
    """The hash of files' names and contents; their dates and places don't matter."""
    return key_of([[file.name, hashlib.sha256(file.read_bytes()).hexdigest()] for file in files])


def _refuse(value: Any) -> Any:
    # A set or an object would hash differently from run to run and make every run a cold one.
    raise TypeError(f"{type(value).__name__} has no stable form, so it cannot be part of a cache key")
