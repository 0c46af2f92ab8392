"""What every Dockerfile of ours must keep to, so that it builds with a registry and without a network."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from okitoki_local import recipes
from okitoki_local.bases import parse_packages
from okitoki_local.builder import ROOT, STOCK_BASE

IMAGES = ROOT / "images"
NAMES = recipes.names(ROOT)
USERS = {
    **dict.fromkeys(("operator", "app", "phones", "drill"), "10001:10001"),
    "postgres": "999:999",
    "edge": "0:0",
}
NETWORK_TOOLS = re.compile(r"\b(apt|apt-get|aptitude|curl|wget|git|pip|pip3|npm|go)\b")


def instructions(name: str) -> list[tuple[str, list[str]]]:
    return list(recipes.instructions((IMAGES / name / "Dockerfile").read_text()))


def test_every_image_of_the_design_is_here() -> None:
    assert set(NAMES) == set(USERS)


@pytest.mark.parametrize("name", NAMES)
def test_the_base_can_be_replaced(name: str) -> None:
    found = instructions(name)
    assert found[0] == ("ARG", [f"BASE={STOCK_BASE}"])
    stages: set[str] = set()
    for instruction, words in found:
        if instruction == "FROM":
            assert words[0] == "${BASE}" or words[0] in stages
            stages |= {words[2]} if len(words) == 3 else set()


@pytest.mark.parametrize("name", NAMES)
def test_the_user_is_a_number_and_only_the_edge_is_root(name: str) -> None:
    users = [words for instruction, words in instructions(name) if instruction == "USER"]
    assert users == [[USERS[name]]]


def test_the_edge_says_why_it_is_root() -> None:
    assert "It runs as root, and says so:" in (IMAGES / "edge/Dockerfile").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_classic_builder_understands_it(name: str) -> None:
    text = (IMAGES / name / "Dockerfile").read_text()
    assert "--mount" not in text
    assert "--chmod" not in text
    assert "--link" not in text
    assert "<<" not in text


@pytest.mark.parametrize("name", NAMES)
def test_no_step_reaches_for_the_network_itself(name: str) -> None:
    for instruction, words in instructions(name):
        assert instruction != "ADD"
        if instruction == "RUN":
            # The two scripts that may, do so only when packages or wheels are missing.
            assert not NETWORK_TOOLS.search(" ".join(words).replace("/tmp/build/", ""))


@pytest.mark.parametrize("name", NAMES)
def test_the_image_says_what_it_is(name: str) -> None:
    labels = " ".join(" ".join(words) for instruction, words in instructions(name) if instruction == "LABEL")
    for label in ("title", "description", "version", "licenses"):
        assert f"org.opencontainers.image.{label}=" in labels
    assert f"title=okitoki-{name}" in labels


@pytest.mark.parametrize("name", NAMES)
def test_everything_that_is_copied_is_here(name: str) -> None:
    assert recipes.files_of(ROOT, recipes.read(ROOT, name))


def test_python_images_share_one_base() -> None:
    assert {recipes.read(ROOT, name).base for name in ("operator", "app", "phones")} == {"python"}


def test_scripts_are_executable() -> None:
    scripts = [*IMAGES.glob("install-*"), IMAGES / "edge/okitoki-edge", *(IMAGES / "postgres").glob("p*.py")]
    assert len(scripts) == 6
    assert all(os.access(script, os.X_OK) for script in scripts)


def run_install_packages(tmp_path: Path, installed: str, packages: str) -> list[str]:
    """Run the script with stand-ins for dpkg-query and apt-get; returns the calls of the latter."""
    tools = tmp_path / "bin"
    tools.mkdir()
    calls = tmp_path / "calls"
    calls.touch()
    (tools / "dpkg-query").write_text(
        f'#!/bin/sh\nfor last; do :; done\ncase " {installed} " in *" $last "*) echo "ii ";; *) exit 1;; esac\n'
    )
    (tools / "apt-get").write_text(f'#!/bin/sh\necho "$*" >> {calls}\n')
    (tools / "rm").write_text("#!/bin/sh\n")  # it would empty this machine's package lists
    for tool in tools.iterdir():
        tool.chmod(0o755)
    (tmp_path / "packages.txt").write_text(packages)
    subprocess.run(
        [IMAGES / "install-packages", tmp_path / "packages.txt"],
        env={"PATH": f"{tools}:/usr/bin:/bin"},
        check=True,
    )
    return calls.read_text().splitlines()


def test_a_base_with_all_packages_needs_no_apt(tmp_path: Path) -> None:
    assert run_install_packages(tmp_path, "redis-server haproxy", "redis-server # state\n# a comment\nhaproxy\n") == []


def test_only_missing_packages_are_installed(tmp_path: Path) -> None:
    calls = run_install_packages(tmp_path, "redis-server", "redis-server\nhaproxy nftables\n")
    assert calls == ["update -qq", "install -y -qq --no-install-recommends haproxy nftables"]


@pytest.mark.parametrize("listing", sorted(IMAGES.glob("*/packages.txt")), ids=lambda path: path.parent.name)
def test_package_lists_are_read_alike_by_python_and_the_shell(listing: Path) -> None:
    shell = subprocess.run(["sed", "s/#.*//", listing], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(shell) == parse_packages(listing.read_text())
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", package) for package in shell)
