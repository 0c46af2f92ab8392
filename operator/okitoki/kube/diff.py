"""Does a live object already say what is wanted? Pure; decides whether anything must be written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from okitoki.kube.labels import APPLIED_HASH
from okitoki.kube.resources import Manifest, annotation

_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9, "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15, "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10, "Mi": Decimal(2) ** 20, "Gi": Decimal(2) ** 30, "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50, "Ei": Decimal(2) ** 60,
}  # fmt: skip
_QUANTITY_FIELDS = {"requests", "limits", "sizeLimit", "capacity"}


def parse_quantity(text: str) -> Decimal:
    """A Kubernetes quantity (`500m`, `1Gi`) as a number.

    Raises:
        ValueError: when it is none.
    """
    number = text.rstrip("numkMGTPEi")
    try:
        return Decimal(number) * _SUFFIXES[text[len(number) :]]
    except (InvalidOperation, KeyError) as error:
        raise ValueError(f"{text!r} is not a quantity such as 500m or 1Gi") from error


def stamp(manifest: Manifest) -> Manifest:
    """The object with the hash of its wanted content in an annotation: notices fields that are no longer wanted."""
    content = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    metadata = dict(manifest["metadata"])
    metadata["annotations"] = {
        **metadata.get("annotations", {}),
        APPLIED_HASH: hashlib.sha256(content).hexdigest()[:16],
    }
    return {**manifest, "metadata": metadata}


def difference(wanted: Manifest, live: Mapping[str, Any]) -> str | None:
    """The first field in which the live object is not as wanted (a stamped manifest), or None: nothing to write.

    Compared are the hash of what was applied last (a field dropped from the manifest must be given up) and the values
    of the wanted fields (someone changed them). Fields that only others set stay theirs.
    """
    wanted_hash = wanted["metadata"]["annotations"][APPLIED_HASH]
    if annotation(live, APPLIED_HASH) != wanted_hash:
        return f"metadata.annotations.{APPLIED_HASH}"
    return _differs(wanted, live, "")


def _differs(wanted: Any, live: Any, path: str) -> str | None:
    # Both are JSON: dicts and lists (a builder's may be a tuple). To ask for the abstract types would cost as much as
    # all the rest of a comparison.
    if isinstance(wanted, dict):
        if not isinstance(live, dict):
            # The API server drops empty maps; an absent one is as good.
            return None if not wanted and live is None else path
        for key, value in wanted.items():
            found = _differs(value, live.get(key), f"{path}.{key}" if path else str(key))
            if found:
                return found
        return None
    if isinstance(wanted, list | tuple):
        return _list_differs(wanted, live, path)
    return None if _same(wanted, live, path) else path


def _list_differs(wanted: Sequence[Any], live: Any, path: str) -> str | None:
    if not wanted and live is None:
        return None
    if not isinstance(live, list):
        return path
    if _is_list_map(wanted):
        # A list map: others may add items of their own (an injected container), ours are found by name.
        by_name = {item.get("name"): item for item in live if isinstance(item, dict)}
        for item in wanted:
            found = _differs(item, by_name.get(item["name"]), f"{path}[{item['name']}]")
            if found:
                return found
        return None
    if len(wanted) != len(live):
        return path
    for index, (one, other) in enumerate(zip(wanted, live, strict=True)):
        found = _differs(one, other, f"{path}[{index}]")
        if found:
            return found
    return None


def _is_list_map(wanted: Sequence[Any]) -> bool:
    """Whether items are told apart by their names. Those of a RoleBinding's subjects may be of one name in several
    namespaces: such a list is a whole."""
    names = [item["name"] for item in wanted if isinstance(item, dict) and "name" in item]
    return len(names) == len(wanted) == len(set(names))


def _same(wanted: Any, live: Any, path: str) -> bool:
    if wanted == live and isinstance(wanted, bool) == isinstance(live, bool):
        return True
    parts = path.split(".")
    if isinstance(wanted, str) and isinstance(live, str) and _QUANTITY_FIELDS & set(parts):
        try:
            return parse_quantity(wanted) == parse_quantity(live)
        except ValueError:
            return False
    # `omitempty`: false, 0 and "" are not sent back.
    return live is None and wanted in (False, 0, "")
