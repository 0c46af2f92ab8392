"""Kubernetes and its tools from Go modules: the one source of them that needs no container registry.

Each program is built from a wrapper module that only requires the program's own module. `go install` would refuse the
modules that carry `replace` directives, Kubernetes first of all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from okitoki_local import system, versions
from okitoki_local.keys import key_of
from okitoki_local.progress import step

KUBERNETES_MODULE = "k8s.io/kubernetes"
KIND_MODULE = "sigs.k8s.io/kind"
SOURCES = Path(__file__).resolve().parent.parent / "go"
# Others on the machine, and the cluster itself, come first.
NICENESS = "5"
# The language version of programs that use nothing but the standard library.
OWN_GO = "1.24"


@dataclass(frozen=True)
class Program:
    """One program to build: `package` of `module` at `version`, or our own `source` on top of that module.

    `staging` is for Kubernetes, whose module replaces others with folders of its repository.
    """

    name: str
    module: str
    version: str
    package: str
    variables: tuple[tuple[str, str], ...] = ()
    staging: bool = False
    source: Path | None = None

    @property
    def key(self) -> str:
        """Everything that decides what the binary is."""
        fields = [self.name, self.module, self.version, self.package, [list(pair) for pair in self.variables]]
        return key_of("go", versions.GO_RECIPE, fields, self.source.read_text() if self.source else None)

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}".strip()

    @property
    def linker_flags(self) -> str:
        return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in self.variables)])


def _kubernetes(name: str) -> Program:
    major, minor, _ = versions.KUBERNETES.removeprefix("v").split(".")
    variables = (
        # kubeadm compares these with the version it is asked to install; without them everything says v0.0.0.
        ("k8s.io/component-base/version.gitVersion", versions.KUBERNETES),
        ("k8s.io/component-base/version.gitMajor", major),
        ("k8s.io/component-base/version.gitMinor", minor),
        ("k8s.io/client-go/pkg/version.gitVersion", versions.KUBERNETES),
    )
    return Program(name, KUBERNETES_MODULE, versions.KUBERNETES, f"{KUBERNETES_MODULE}/cmd/{name}", variables, True)


def _own(name: str, module: str = "", version: str = "") -> Program:
    return Program(name, module, version, ".", source=SOURCES / name / "main.go")


def _plain(name: str, module: str, version: str, package: str = "") -> Program:
    return Program(name, module, version, f"{module}/{package}" if package else module)


PROGRAMS: Mapping[str, Program] = {
    program.name: program
    for program in (
        _plain("kind", KIND_MODULE, versions.KIND),
        *map(_kubernetes, ("kubectl", "kubeadm", "kubelet", "kube-apiserver", "kube-controller-manager")),
        *map(_kubernetes, ("kube-scheduler", "kube-proxy")),
        _plain("etcd", "go.etcd.io/etcd/server/v3", versions.ETCD),
        _plain("crictl", "sigs.k8s.io/cri-tools", versions.CRICTL, "cmd/crictl"),
        _plain("kube-router", "github.com/cloudnativelabs/kube-router/v2", versions.KUBE_ROUTER, "cmd/kube-router"),
        _plain("local-path-provisioner", "github.com/rancher/local-path-provisioner", versions.LOCAL_PATH_PROVISIONER),
        _own("coredns", "github.com/coredns/coredns", versions.COREDNS),
        _own("pause"),
        _plain("helm", "helm.sh/helm/v3", versions.HELM, "cmd/helm"),
    )
}
# What people and tests call; etcd and kube-apiserver are there for tests that need a real API server and nothing else.
TOOLS = ("kind", "kubectl", "kubeadm", "helm", "crictl", "etcd", "kube-apiserver")


def wrapper_module(program: Program, go_mod: Mapping[str, Any]) -> str:
    """The go.mod that builds `program`; `go_mod` is its module's own, as `go mod edit -json` prints it.

    Kubernetes requires its staging modules as v0.0.0 and replaces them with folders of its repository. Published, they
    carry the same version with a leading zero: v1.34.4 is v0.34.4.
    """
    lines = [f"module okitoki.invalid/{program.name}", f"go {go_mod['Go']}"]
    lines += [f"godebug {setting['Key']}={setting['Value']}" for setting in go_mod.get("Godebug") or []]
    if program.module:
        lines.append(f"require {program.module} {program.version}")
    if program.staging:
        published = "v0" + program.version.removeprefix("v1")
        staged = [r["Path"] for r in go_mod["Require"] if r["Version"] == "v0.0.0" and r["Path"].startswith("k8s.io/")]
        lines += [f"replace {path} => {path} {published}" for path in staged]
    return "\n".join(lines) + "\n"


def module_folder(module: str, version: str) -> Path:
    """Where the Go module cache has the module's source, downloading it if need be."""
    return Path(_download(module, version)["Dir"])


def _download(module: str, version: str) -> dict[str, str]:
    # From the root folder, so that no go.mod of this or another checkout has a say in it.
    found = system.run(["go", "mod", "download", "-json", f"{module}@{version}"], cwd=Path("/"), env={"GOFLAGS": ""})
    facts: dict[str, str] = json.loads(found.stdout)
    return facts


def binary(cache: Path, name: str) -> Path:
    """Where the built program is, whether or not it has been built."""
    return cache / "go" / f"{name}-{PROGRAMS[name].key}" / name


def tools_folder(cache: Path) -> Path:
    """A folder for PATH; its name changes with the versions in it."""
    return cache / "tools" / key_of([[name, PROGRAMS[name].key] for name in TOOLS])


def binaries_key() -> str:
    """One key over all programs."""
    return key_of([program.key for program in PROGRAMS.values()])


def build_tools(cache: Path) -> None:
    """Build the tools that the cache lacks, and make their folder."""
    _build_missing(cache, [PROGRAMS[name] for name in TOOLS])
    _link_tools(cache)


def build_all(cache: Path) -> None:
    """Build everything that the cache lacks: tools, node, control plane, pause."""
    _build_missing(cache, list(PROGRAMS.values()))
    _link_tools(cache)


def _build_missing(cache: Path, programs: Sequence[Program]) -> None:
    missing = [program for program in programs if not binary(cache, program.name).exists()]
    if missing and shutil.which("go") is None:
        raise system.LocalClusterError("Kubernetes is built from source here, and that needs Go: install it first")
    with system.locked(cache / "go.lock", "building Kubernetes"):
        for number, program in enumerate(missing, start=1):
            if not binary(cache, program.name).exists():
                with step(f"building {program.title} ({number} of {len(missing)})"):
                    _build(cache, program)


def _build(cache: Path, program: Program) -> None:
    target = binary(cache, program.name)
    wrapper = target.parent / "wrapper"
    wrapper.mkdir(parents=True, exist_ok=True)
    (wrapper / "go.mod").write_text(wrapper_module(program, _go_mod(program)))
    if program.source is not None:
        shutil.copyfile(program.source, wrapper / "main.go")
    _compile(target, wrapper, program.linker_flags, program.package)


def _go_mod(program: Program) -> dict[str, Any]:
    if not program.module:
        return {"Go": OWN_GO}
    edited = system.run(["go", "mod", "edit", "-json", _download(program.module, program.version)["GoMod"]])
    facts: dict[str, Any] = json.loads(edited.stdout)
    return facts


def _compile(target: Path, folder: Path, linker_flags: str, package: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".unfinished")
    command: Sequence[str | Path] = [
        "nice", "-n", NICENESS, "go", "build", "-trimpath", "-ldflags", linker_flags, "-o", unfinished, package,
    ]  # fmt: skip
    system.run(command, cwd=folder, env={"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOWORK": "off"})
    os.replace(unfinished, target)


def _link_tools(cache: Path) -> None:
    folder = tools_folder(cache)
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOOLS:
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(binary(cache, name))
