"""The images get what uv.lock pins for their Python, wherever the wheels are downloaded."""

import re

import pytest

from okitoki_local import wheels
from okitoki_local.builder import ROOT

EXPORTED = """\
zed==2 \\
    --hash=sha256:bb \\
    --hash=sha256:cc
backport==1 ; python_full_version < '3.13' \\
    --hash=sha256:aa
only-windows==1 ; sys_platform == 'win32' \\
    --hash=sha256:aa
arm-only==1 ; platform_machine == 'aarch64' \\
    --hash=sha256:dd
extra[fast]==3 ; implementation_name != 'pypy' \\
    --hash=sha256:ee
"""


def test_markers_are_evaluated_for_the_image_and_not_for_this_python() -> None:
    assert (
        wheels.for_target(EXPORTED, "x86_64") == "extra==3 --hash=sha256:ee\nzed==2 --hash=sha256:bb --hash=sha256:cc\n"
    )


def test_another_machine_gets_its_own() -> None:
    assert "arm-only==1 --hash=sha256:dd\n" in wheels.for_target(EXPORTED, "aarch64")


@pytest.mark.parametrize("group", ["operator", "app", "agents", "phones"])
def test_every_group_of_the_lock_file_is_pinned_with_hashes(group: str) -> None:
    lines = wheels.for_target(wheels.export(ROOT, group), "x86_64").splitlines()
    assert lines
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==\S+( --hash=sha256:[0-9a-f]{64})+", line)


def test_the_folder_follows_from_what_is_pinned() -> None:
    one, again = (wheels.locked(ROOT, ROOT / "cache", "app", "x86_64") for _ in range(2))
    other = wheels.locked(ROOT, ROOT / "cache", "app", "aarch64")
    assert one.folder == again.folder != other.folder


def test_old_manylinux_wheels_are_taken_and_newer_glibc_is_not() -> None:
    tags = wheels.platforms("x86_64")
    assert "manylinux_2_17_x86_64" in tags
    assert "manylinux2014_x86_64" in tags
    assert "manylinux_2_41_x86_64" in tags
    assert "manylinux_2_42_x86_64" not in tags


def test_stable_abi_and_pure_wheels_are_taken() -> None:
    assert wheels.abis("x86_64")[:3] == ["cp313", "abi3", "none"]


def test_nothing_is_built_from_source_and_nothing_is_unchecked() -> None:
    command = wheels.download_command(ROOT / "requirements.txt", ROOT, "x86_64")
    assert {"--only-binary=:all:", "--require-hashes", "--no-deps", "--python-version=3.13"} <= set(command)
