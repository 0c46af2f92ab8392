"""Rendering of the charts with the real helm."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from okitoki_local.environment import Environment

CHARTS = Path(__file__).resolve().parents[3] / "charts"
KUBERNETES = "1.34.0"

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]


class Refused(Exception):
    """helm refused the values; the message is what it told the user."""


@pytest.fixture(scope="session")
def helm() -> str:
    """helm as `make cluster-tools` builds it, or the user's own. Without it the charts cannot be tested at all."""
    tools = Environment.detect().tools
    found = shutil.which("helm", path=f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if found is None:
        raise FileNotFoundError("helm is missing: build it with `make cluster-tools`, or put one into PATH")
    return found


@pytest.fixture(scope="session")
def render(helm: str) -> Render:
    """`render("okitoki", "replicas=3")` gives the manifests of the chart under the values for tests and these."""

    def rendered(chart: str, *settings: str, namespace: str = "somewhere", values: bool = True) -> list[Manifest]:
        # --kube-version: a helm that was built from its module says that it is from the days of 1.20.
        command = [helm, "template", "release", str(CHARTS / chart), "--namespace", namespace]
        command += ["--kube-version", KUBERNETES]
        own = CHARTS / chart / "ci/values.yaml"
        command += ["--values", str(own)] if values and own.exists() else []
        command += [word for setting in settings for word in ("--set", setting)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Refused(done.stderr)
        return [item for item in yaml.safe_load_all(done.stdout) if item]

    return rendered


@pytest.fixture(scope="session")
def operator(render: Render) -> list[Manifest]:
    """The operator's chart with the values for tests."""
    return render("okitoki")


def one(manifests: list[Manifest], kind: str, name: str = "okitoki-operator") -> Manifest:
    """The only manifest of this kind and name."""
    [found] = [item for item in manifests if item["kind"] == kind and item["metadata"]["name"] == name]
    return found
