"""`kubectl okitoki` as a program: how it calls kubectl, and what it says when it does not work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from okitoki_kubectl.cluster import Cluster, KubectlError
from okitoki_kubectl.main import main, parser

PLUGIN = Path(__file__).resolve().parents[3] / "plugin"


def kubectl(folder: Path, text: str) -> Path:
    """A program of that name."""
    program = folder / "kubectl"
    program.write_text(text)
    program.chmod(0o755)
    return program


def test_kubectls_own_words_reach_the_user(tmp_path: Path) -> None:
    program = kubectl(tmp_path, '#!/bin/sh\necho "error: You must be logged in" >&2\nexit 1\n')
    with pytest.raises(KubectlError, match=r"^error: You must be logged in$"):
        Cluster(program=str(program)).all("tenants")
    with pytest.raises(KubectlError, match="kubectl is not in PATH"):
        Cluster(program=str(tmp_path / "none")).all("tenants")


def test_the_command_passes_the_context_on(tmp_path: Path) -> None:
    kubectl(
        tmp_path,
        f"#!{sys.executable}\nimport sys\nassert sys.argv[1] == '--context=here', sys.argv\n"
        "print('{\"items\": []}')\n",
    )
    done = subprocess.run(
        [str(PLUGIN / "kubectl-okitoki"), "--context", "here", "status", "-o", "json"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"tenants": [], "regions": []}


def test_one_resource_is_asked_for_by_its_name_and_may_not_be_there(tmp_path: Path) -> None:
    """A switchover looks every second: among thousands it must not read them all."""
    program = kubectl(
        tmp_path,
        f"#!{sys.executable}\nimport sys\n"
        "assert sys.argv[1:4] == ['get', 'tenants.platform.oki-toki.net', sys.argv[3]], sys.argv\n"
        "assert '--ignore-not-found' in sys.argv\n"
        "print('{\"metadata\": {\"name\": \"acme\"}}' if sys.argv[3] == 'acme' else '')\n",
    )
    cluster = Cluster(program=str(program))
    assert cluster.one("tenants", "acme") == {"metadata": {"name": "acme"}}
    assert cluster.one("tenants", "nobody") is None


def test_wrong_arguments_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["status", "-o", "yaml"])
    assert "invalid choice" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["promote"],
        ["drain-edge", "kyiv", "--node", "a", "--undo"],
        ["hibernate"],
        ["wake", "acme", "--timeout", "soon"],
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(words: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)


def test_promote_has_the_name_it_had_before() -> None:
    given = parser().parse_args(["switchover", "acme"])
    assert (given.do, given.member) == (parser().parse_args(["promote", "acme"]).do, None)


def test_a_field_is_changed_only_if_it_is_as_it_was_seen(tmp_path: Path) -> None:
    program = kubectl(
        tmp_path,
        f"#!{sys.executable}\nimport json, sys\n"
        "assert sys.argv[1:5] == ['patch', 'tenants.platform.oki-toki.net', 'acme', '--type=json'], sys.argv\n"
        "steps = json.loads(sys.argv[5].removeprefix('--patch='))\n"
        "assert [step['op'] for step in steps] == ['test', 'replace'], steps\n"
        "assert [step['value'] for step in steps] == ['Active', 'Paused'], steps\n",
    )
    Cluster(program=str(program)).change("tenants", "acme", "/spec/state", "Active", "Paused")
