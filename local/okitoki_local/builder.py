"""Builds the project's images and loads them into the nodes; what did not change costs nothing."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from okitoki_local import bases, recipes, wheels
from okitoki_local.environment import PACKAGE_ROOT, Environment
from okitoki_local.images import load_images
from okitoki_local.progress import say, step
from okitoki_local.recipes import Recipe
from okitoki_local.system import LocalClusterError, locked

ROOT = PACKAGE_ROOT.parent
AT_ONCE = 2
STOCK_BASE = "debian:trixie-slim"
# Outside a cluster in real life: they run as containers beside the nodes, so the nodes need not have them.
NOT_ON_NODES = {"drill", "phones"}


@dataclass(frozen=True)
class Plan:
    """One image to have, copied to a build context: editors may go on writing to the checkout."""

    recipe: Recipe
    base: str
    python: wheels.Locked | None
    context: Path
    reference: str


def build_images(env: Environment, wanted: Sequence[str] = ()) -> dict[str, str]:
    """Build what changed of the images wanted (all by default), load it, record it in `STATE/images.json`.

    Returns name -> reference of the images wanted. An unknown name is an error that lists the known ones.
    """
    chosen = [recipes.read(ROOT, name) for name in dict.fromkeys(wanted or recipes.names(ROOT))]
    machine = machine_of(env)
    found = bases_of(env, chosen)
    with locked(env.state / "images.lock", "building images"), tempfile.TemporaryDirectory(dir=_scratch(env)) as folder:
        plans = {recipe.name: plan(env, recipe, found[recipe.base], machine, Path(folder)) for recipe in chosen}
        references = {name: planned.reference for name, planned in plans.items()}
        missing = recipes.changed(references, present(env))
        if missing.keys() != references.keys():
            say(f"images unchanged: {', '.join(sorted(references.keys() - missing.keys()))}")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(add_wheels, [plans[name] for name in missing]))
        for name in missing:
            build(env, plans[name])
        _load(env, references)
        record(env, references)
    return references


def plan(env: Environment, recipe: Recipe, base: str, machine: str, scratch: Path) -> Plan:
    """Copy what the image is made from and name the image after it; nothing is downloaded."""
    context = scratch / recipe.name
    recipes.copy_sources(ROOT, recipe, context)
    python = wheels.locked(ROOT, env.cache, recipe.group, machine) if recipe.group else None
    requirements = python.requirements if python else ""
    key = recipes.key(context, recipe, f"{base} {machine}", requirements, project_version())
    return Plan(recipe, base, python, context, f"okitoki/{recipe.name}:{key}")


def bases_of(env: Environment, chosen: Sequence[Recipe]) -> dict[str, str]:
    """Name of each base -> its reference. What has to be made is made two at a time: unpacking keeps one core busy."""
    needed = list({recipe.base: recipe for recipe in chosen}.values())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        references = pool.map(lambda recipe: base_of(env, recipe), needed)
        return {recipe.base: reference for recipe, reference in zip(needed, references, strict=True)}


def base_of(env: Environment, recipe: Recipe) -> str:
    """Reference of the image's base: Debian's own where a registry answers, otherwise one with its packages."""
    if not env.private:
        return STOCK_BASE
    packages = bases.parse_packages((ROOT / recipe.package_list).read_text())
    before = ROOT / recipe.before_packages
    return bases.ensure_base(env, recipe.base, packages, before=before if before.is_dir() else None)


def build(env: Environment, planned: Plan) -> None:
    """Build one image from its context."""
    with step(f"building {planned.reference}"):
        options = ["--build-arg", f"BASE={planned.base}", "--build-arg", f"VERSION={project_version()}"]
        if env.private:
            options += ["--network", "none"]  # there is none; said here, a step that wants one fails at once
        dockerfile = str(planned.context / planned.recipe.dockerfile)
        env.docker("build", "--tag", planned.reference, *options, "--file", dockerfile, str(planned.context))


def add_wheels(planned: Plan) -> None:
    """Complete the context with the image's Python packages."""
    if planned.python is not None:
        recipes.copy_wheels(wheels.ensure_wheels(planned.python), planned.python.group, planned.context)


def write_contexts(env: Environment, target: Path, wanted: Sequence[str] = ()) -> list[Path]:
    """Build contexts in TARGET/NAME for a builder of one's own; needs neither a cluster nor a daemon.

    Then: `docker build -f TARGET/NAME/images/NAME/Dockerfile TARGET/NAME`.
    """
    made: list[Path] = []
    machine = wheels.MACHINES.get(platform.machine(), platform.machine())
    for name in wanted or recipes.names(ROOT):
        if (target / name).exists():
            raise LocalClusterError(f"{target / name} is there already: remove it or name another folder")
        planned = plan(env, recipes.read(ROOT, name), STOCK_BASE, machine, target)
        add_wheels(planned)
        made.append(planned.context)
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
