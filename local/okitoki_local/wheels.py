"""Python wheels for the images: what uv.lock says of a dependency group, for the images' Python and not for ours."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import compatible_tags, cpython_tags

from okitoki_local import system
from okitoki_local.keys import key_of
from okitoki_local.progress import step

PYTHON = (3, 13)  # Debian trixie's
GLIBC = (2, 41)  # Debian trixie's: every older manylinux wheel runs on it
OLDEST_GLIBC = (2, 17)  # manylinux2014
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # Docker's names of architectures -> Python's
WHEELS_RECIPE = 1


@dataclass(frozen=True)
class Locked:
    """The wheels of one dependency group for one machine; `folder` need not have been filled yet."""

    group: str
    machine: str
    requirements: str
    folder: Path


def locked(root: Path, cache: Path, group: str, machine: str) -> Locked:
    """What uv.lock pins for the group; nothing is downloaded."""
    requirements = for_target(export(root, group), machine)
    key = key_of("wheels", WHEELS_RECIPE, PYTHON, machine, requirements)
    return Locked(group, machine, requirements, cache / "wheels" / f"{group}-{key}")


def export(root: Path, group: str) -> str:
    """`uv export` of the group: one requirement in each line, with markers and hashes of every platform's files."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if uv is None:
        raise system.LocalClusterError("uv is missing, which reads uv.lock: run `make setup`")
    options = ["--frozen", "--offline", "--no-header", "--no-annotate", "--quiet", "--only-group", group]
    return system.run([uv, "export", *options], cwd=root, env={"UV_PYTHON_DOWNLOADS": "never"}).stdout


def for_target(exported: str, machine: str) -> str:
    """The requirements that apply in the image, without markers.

    pip evaluates markers for the Python that runs it, also when it downloads for another one; so they are evaluated
    here. Shape of the result: `name==version --hash=sha256:…` per line, sorted.
    """
    environment = target_environment(machine)
    lines: list[str] = []
    for logical in exported.replace("\\\n", " ").splitlines():
        words = logical.split("#", 1)[0].split("--hash=")
        if not words[0].strip():
            continue
        requirement = Requirement(words[0].strip())
        if requirement.marker is None or requirement.marker.evaluate(environment):
            hashes = " ".join(f"--hash={word.strip()}" for word in words[1:])
            lines.append(f"{requirement.name}{requirement.specifier} {hashes}")
    return "".join(f"{line}\n" for line in sorted(lines))


def target_environment(machine: str) -> dict[str, str]:
    """Environment markers (PEP 508) of Python in the images."""
    version = ".".join(map(str, PYTHON))
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{version}.5",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{version}.5",
        "python_version": version,
        "sys_platform": "linux",
        "extra": "",
    }


def platforms(machine: str) -> list[str]:
    """Platform tags that work in the images, the newest first (PEP 600)."""
    newest, oldest = GLIBC[1], OLDEST_GLIBC[1]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, oldest - 1, -1)]
    return [*tags, f"manylinux2014_{machine}", f"linux_{machine}"]


def abis(machine: str) -> list[str]:
    """ABI tags that work in the images."""
    tags = [*cpython_tags(PYTHON, platforms=platforms(machine)), *compatible_tags(PYTHON, platforms=platforms(machine))]
    return list(dict.fromkeys(tag.abi for tag in tags))


def download_command(requirements: Path, folder: Path, machine: str) -> list[str]:
    """The pip call: these files and no others, each checked against the lock file's hash."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--implementation=cp"]
    command += [f"--python-version={'.'.join(map(str, PYTHON))}"]
    command += [f"--abi={abi}" for abi in abis(machine)]
    command += [f"--platform={platform}" for platform in platforms(machine)]
    return [*command, f"--dest={folder}", f"--requirement={requirements}"]


def ensure_wheels(wanted: Locked) -> Path:
    """The folder with the group's `requirements.txt` and wheels, downloaded if the cache lacks it."""
    with system.locked(wanted.folder.with_suffix(".lock"), f"downloading wheels of {wanted.group}"):
        if wanted.folder.is_dir():
            return wanted.folder
        unfinished = wanted.folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        requirements = unfinished / "requirements.txt"
        requirements.write_text(wanted.requirements)
        count = len(wanted.requirements.splitlines())
        with step(f"downloading {count} Python packages of the group {wanted.group}"):
            system.run(download_command(requirements, unfinished, wanted.machine))
        unfinished.rename(wanted.folder)
    return wanted.folder
