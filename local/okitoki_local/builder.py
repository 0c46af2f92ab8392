"""Builds the project's images and loads them into the nodes; what did not change costs nothing."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from okitoki_local import bases, recipes, wheels
from okitoki_local.environment import PACKAGE_ROOT, Environment
from okitoki_local.images import load_images
from okitoki_local.progress import say, step
from okitoki_local.recipes import Recipe
from okitoki_local.system import LocalClusterError, locked

ROOT = PACKAGE_ROOT.parent
STOCK_BASE = "debian:trixie-slim"
# Outside a cluster in real life: they run as containers beside the nodes, so the nodes need not have them.
NOT_ON_NODES = {"phones"}


@dataclass(frozen=True)
class Plan:
    """One image to have: its recipe, its base and Python packages, and the reference that follows from them."""

    recipe: Recipe
    base: str
    python: wheels.Locked | None
    reference: str


def build_images(env: Environment, wanted: Sequence[str] = ()) -> dict[str, str]:
    """Build what changed of the images wanted (all by default), load it, record it in `STATE/images.json`.

    Returns name -> reference of the images wanted. An unknown name is an error that lists the known ones.
    """
    chosen = list(dict.fromkeys(wanted)) or recipes.names(ROOT)
    with locked(env.state / "images.lock", "building images"):
        plans = {name: plan(env, recipes.read(ROOT, name)) for name in chosen}
        references = {name: planned.reference for name, planned in plans.items()}
        missing = recipes.changed(references, present(env))
        if missing.keys() != references.keys():
            say(f"images unchanged: {', '.join(sorted(references.keys() - missing.keys()))}")
        for name in missing:
            build(env, plans[name])
        _load(env, references)
        record(env, references)
    return references


def plan(env: Environment, recipe: Recipe) -> Plan:
    """What the image would be made from now. Makes the base where there is no registry; builds nothing else."""
    machine = machine_of(env)
    python = wheels.locked(ROOT, env.cache, recipe.group, machine) if recipe.group else None
    base = base_of(env, recipe)
    return Plan(recipe, base, python, reference_of(ROOT, recipe, f"{base} {machine}", python))


def reference_of(root: Path, recipe: Recipe, base: str, python: wheels.Locked | None) -> str:
    """The image's name and tag; `root` is the repository or a context made from it."""
    requirements = python.requirements if python else ""
    return f"okitoki/{recipe.name}:{recipes.key(root, recipe, base, requirements, project_version())}"


def base_of(env: Environment, recipe: Recipe) -> str:
    """Reference of the image's base: Debian's own where a registry answers, otherwise one with its packages."""
    if not env.private:
        return STOCK_BASE
    packages = bases.parse_packages((ROOT / recipe.package_list).read_text())
    before = ROOT / recipe.before_packages
    return bases.ensure_base(env, recipe.base, packages, before=before if before.is_dir() else None)


def build(env: Environment, planned: Plan) -> None:
    """Build one image from a context made for it."""
    with step(f"building {planned.reference}"), tempfile.TemporaryDirectory(dir=_scratch(env)) as folder:
        write_context(planned, Path(folder))
        copied = reference_of(Path(folder), planned.recipe, f"{planned.base} {machine_of(env)}", planned.python)
        if copied != planned.reference:
            raise LocalClusterError(
                f"files of the image {planned.recipe.name} changed while they were copied: run again"
            )
        options = ["--build-arg", f"BASE={planned.base}", "--build-arg", f"VERSION={project_version()}"]
        if env.private:
            options += ["--network", "none"]  # there is none; said here, a step that wants one fails at once
        dockerfile = str(Path(folder) / planned.recipe.dockerfile)
        env.docker("build", "--tag", planned.reference, *options, "--file", dockerfile, folder)


def write_context(planned: Plan, target: Path) -> None:
    """The image's build context, wheels included, in an empty folder."""
    folder = wheels.ensure_wheels(planned.python) if planned.python else None
    recipes.write_context(ROOT, planned.recipe, folder, target)


def write_contexts(env: Environment, target: Path, wanted: Sequence[str] = ()) -> list[Path]:
    """Build contexts in TARGET/NAME for a builder of one's own; needs neither a cluster nor a daemon.

    Then: `docker build -f TARGET/NAME/images/NAME/Dockerfile TARGET/NAME`.
    """
    made: list[Path] = []
    machine = wheels.MACHINES.get(platform.machine(), platform.machine())
    for name in wanted or recipes.names(ROOT):
        recipe = recipes.read(ROOT, name)
        folder = target / name
        if folder.exists() and any(folder.iterdir()):
            raise LocalClusterError(f"{folder} is not empty: remove it or name another folder")
        folder.mkdir(parents=True, exist_ok=True)
        python = wheels.locked(ROOT, env.cache, recipe.group, machine) if recipe.group else None
        write_context(Plan(recipe, STOCK_BASE, python, ""), folder)
        made.append(folder)
    return made


def present(env: Environment) -> set[str]:
    """References of our images in the daemon."""
    return set(env.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split())


def machine_of(env: Environment) -> str:
    """Python's name of the daemon's architecture."""
    architecture = env.docker("version", "--format", "{{.Server.Arch}}").strip()
    if architecture not in wheels.MACHINES:
        raise LocalClusterError(f"the Docker daemon is {architecture!r}; images are made for {sorted(wheels.MACHINES)}")
    return wheels.MACHINES[architecture]


def project_version() -> str:
    """The version that the images carry as a label."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def record(env: Environment, references: dict[str, str]) -> None:
    """Write name -> reference where the demo and the tests look; whole or not at all."""
    target = env.state / "images.json"
    merged = recipes.merge_references(target.read_text() if target.exists() else None, references)
    unfinished = target.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(merged, indent=2) + "\n")
    os.replace(unfinished, target)


def _load(env: Environment, references: dict[str, str]) -> None:
    onto_nodes = [reference for name, reference in references.items() if name not in NOT_ON_NODES]
    if onto_nodes and env.nodes():
        load_images(env, onto_nodes)
    elif onto_nodes:
        say("no cluster yet: the images are built, and loaded into it once it is there")


def _scratch(env: Environment) -> Path:
    folder = env.cache / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
