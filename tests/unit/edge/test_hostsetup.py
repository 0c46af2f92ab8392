"""The node's sysctls, on a copy of their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from okitoki_agents.edge.hostsetup import SYSCTLS, HostSetupError, apply, undo


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in SYSCTLS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("0\n")
    return tmp_path


def test_set_and_undone(root: Path) -> None:
    apply(root)
    assert {name: (root / name).read_text() for name in SYSCTLS} == dict(SYSCTLS)
    undo(root)
    assert {(root / name).read_text() for name in SYSCTLS} == {"0"}


def test_what_is_right_is_not_written(root: Path) -> None:
    apply(root)
    for name in SYSCTLS:
        (root / name).chmod(0o400)
    before = {name: (root / name).stat().st_mtime_ns for name in SYSCTLS}
    apply(root)
    assert {name: (root / name).stat().st_mtime_ns for name in SYSCTLS} == before


def test_a_failure_names_the_sysctl(tmp_path: Path) -> None:
    with pytest.raises(HostSetupError, match=r"net\.ipv4\.ip_nonlocal_bind: .*privileged"):
        apply(tmp_path)
