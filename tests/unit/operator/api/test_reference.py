"""The API reference says everything that the models say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from okitoki.api.crds import all_crds
from okitoki.api.reference import reference

ROOT = Path(__file__).resolve().parents[4]


def leaves(schema: Mapping[str, Any], key: str) -> Iterator[Any]:
    """All values of a key in a schema."""
    for name, value in schema.items():
        if name == key and not isinstance(value, Mapping):
            yield value
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Mapping):
                yield from leaves(one, key)


def test_every_description_and_every_refusal_is_in_it() -> None:
    text = reference().replace("\\|", "|")
    for crd in all_crds().values():
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for section in ("spec", "status"):
            for field in schema["properties"][section]["properties"].values():
                assert field["description"] in text
        for message in leaves(schema, "message"):
            assert message in text


def test_fields_of_lists_and_defaults_and_limits_are_named() -> None:
    text = reference()
    assert "| `spec.numbers[].number` * | string |" in text
    assert "| `spec.database.instances` | integer | `3` |" in text
    assert "≥ 3; ≤ 5" in text


def test_rows_have_as_many_cells_as_the_head() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {5}


def test_a_stale_document_is_refused_and_the_mend_named(tmp_path: Path) -> None:
    stale = tmp_path / "api.md"
    stale.write_text("old")
    command = [sys.executable, "-m", "okitoki.api.reference", "--check", str(stale)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT / "operator")}
    )
    assert done.returncode == 1
    assert "run `make crds`" in done.stderr
    assert stale.read_text() == "old"
