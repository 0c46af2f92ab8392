"""State on disk that outlives the pod and every outage of the API server or of an app.

Files are written whole: a temporary file in the same folder, fsync, rename, fsync of the folder, so a reader (the
agent after a crash, Kamailio, HAProxy, the guard) sees the old content or the new and never a part. Mode 0600: they
hold tokens, keys and HA1s.
"""

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


def write_atomically(path: Path, content: bytes) -> bool:
    """Put `content` at `path` durably; False when it was there already (nothing is written then).

    Raises OSError when the disk refuses.
    """
    try:
        if path.read_bytes() == content:
            return False
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as handle:  # mkstemp made it 0600
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        Path(temporary).rename(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def write_json(path: Path, document: Any) -> bool:
    """`write_atomically` of a JSON document in a stable form."""
    return write_atomically(path, (json.dumps(document, sort_keys=True, indent=1) + "\n").encode())


def read_json(path: Path) -> Any:
    """The document at `path`; None when there is none or it cannot be read as JSON (which is logged)."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.error("%s is not JSON and is passed over: %s", path, error)
        return None
