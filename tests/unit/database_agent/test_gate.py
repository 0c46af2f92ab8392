"""The gate through which Patroni starts PostgreSQL."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

GATE = Path(__file__).parents[3] / "images" / "postgres" / "okitoki-postgres"


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The script with its two paths in a temporary folder; the server is a program that says how it was called."""
    server = tmp_path / "postgres"
    server.write_text('#!/bin/sh\necho "server $*"\n')
    server.chmod(0o755)
    text = GATE.read_text()
    for path, replaced in (("/run/okitoki", tmp_path), ("/usr/lib/postgresql/17/bin", tmp_path)):
        assert path in text
        text = text.replace(path, str(replaced))
    script = tmp_path / "gate"
    script.write_text(text)
    script.chmod(0o755)
    return script


def call(gate: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(gate), *arguments], capture_output=True, text=True, check=False)


def test_without_a_fence_it_is_postgresql(gate: Path) -> None:
    assert call(gate, "-D", "/data", "--port=5432").stdout == "server -D /data --port=5432\n"


def test_behind_a_fence_no_server_starts_and_the_log_says_why(gate: Path) -> None:
    (gate.parent / "fence.json").write_text('{"primary": "postgres-0"}')
    found = call(gate, "-D", "/data")
    assert (found.returncode, found.stdout) == (1, "")
    assert "postgres-0" in found.stderr


def test_patroni_may_ask_for_the_version_at_any_time(gate: Path) -> None:
    (gate.parent / "fence.json").write_text("{}")
    assert call(gate, "--version").stdout == "server --version\n"
