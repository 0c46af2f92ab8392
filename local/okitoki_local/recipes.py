"""What an image is made from, read off its Dockerfile: nothing about an image is written down twice.

A Dockerfile copies paths of the repository (`COPY app/callcentre …`), the package list of its base
(`COPY images/BASE/packages.txt …`) and the wheels of a dependency group (`COPY wheels/GROUP/requirements.txt …`, a
folder that only the build context has). That is its whole context, and the hash of it names the image.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from okitoki_local.keys import key_of
from okitoki_local.system import LocalClusterError

WHEELS = "wheels"
SKIPPED = re.compile(r"__pycache__|.*\.pyc|\.mypy_cache|\.ruff_cache")


@dataclass(frozen=True)
class Recipe:
    """One image of ours."""

    name: str
    dockerfile: str  # relative to the root of the repository, as are the others
    sources: tuple[str, ...]
    package_list: str
    group: str | None

    @property
    def base(self) -> str:
        """Name of the base: images that copy the same package list share it."""
        return Path(self.package_list).parent.name

    @property
    def before_packages(self) -> str:
        """Files that are put into the base before its packages are; most bases have none."""
        return str(Path(self.package_list).with_name("before-packages"))


def names(root: Path) -> list[str]:
    """All images that have a Dockerfile."""
    return sorted(path.parent.name for path in (root / "images").glob("*/Dockerfile"))


def read(root: Path, name: str) -> Recipe:
    """The recipe of `images/NAME/Dockerfile`."""
    dockerfile = Path("images") / name / "Dockerfile"
    if not (root / dockerfile).is_file():
        raise LocalClusterError(f"there is no image {name!r}; there are: {', '.join(names(root))}")
    copied = copied_paths((root / dockerfile).read_text())
    lists = [path for path in copied if Path(path).name == "packages.txt"]
    if len(lists) != 1:
        raise LocalClusterError(f"{dockerfile}: must COPY one packages.txt, which names its base; it copies {lists}")
    groups = {Path(path).parts[1] for path in copied if Path(path).parts[0] == WHEELS}
    if len(groups) > 1:
        raise LocalClusterError(f"{dockerfile}: one dependency group per image, not {sorted(groups)}")
    sources = tuple(path for path in copied if Path(path).parts[0] != WHEELS)
    return Recipe(name, str(dockerfile), sources, lists[0], next(iter(groups), None))


def instructions(dockerfile: str) -> Iterator[tuple[str, list[str]]]:
    """Instructions of a Dockerfile as (name, words); continuation lines are joined and comments left out."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        if name:
            lexer = shlex.shlex(rest, posix=True, punctuation_chars=False)
            lexer.whitespace_split, lexer.commenters = True, ""
            yield name.upper(), list(lexer)


def copied_paths(dockerfile: str) -> list[str]:
    """Paths of the context that a Dockerfile copies, each once; what comes from another stage is not of them."""
    found: dict[str, None] = {}
    for name, words in instructions(dockerfile):
        if name != "COPY" or any(word.startswith("--from") for word in words):
            continue
        found |= dict.fromkeys(word for word in words[:-1] if not word.startswith("--"))
    return list(found)


def files_of(root: Path, recipe: Recipe) -> list[Path]:
    """The repository's files in the image's context, relative to the root, sorted."""
    found: set[Path] = {Path(recipe.dockerfile)}
    for source in recipe.sources:
        path = root / source
        if not path.exists():
            raise LocalClusterError(f"{recipe.dockerfile} copies {source}, which is not there")
        found |= {file.relative_to(root) for file in _walk(path)}
    return sorted(found)


def _walk(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not SKIPPED.fullmatch(name)]
        yield from (Path(folder) / name for name in files if not SKIPPED.fullmatch(name))


def key(root: Path, recipe: Recipe, base: str, requirements: str, version: str) -> str:
    """The hash of everything that goes into the image; dates, owners and the checkout's place do not.

    `base` is the reference of the base image, `requirements` the locked Python packages of the image's group.
    """
    files = [
        [str(file), _is_executable(root / file), hashlib.sha256((root / file).read_bytes()).hexdigest()]
        for file in files_of(root, recipe)
    ]
    return key_of("image", files, base, requirements, version)


def copy_sources(root: Path, recipe: Recipe, target: Path) -> None:
    """Copy the image's files into a folder that is not there yet, with modes that don't depend on the umask."""
    for file in files_of(root, recipe):
        destination = target / file
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, destination)
        destination.chmod(0o755 if _is_executable(root / file) else 0o644)
    _open_folders(target)


def copy_wheels(wheels: Path, group: str, target: Path) -> None:
    """Copy a folder of requirements and wheels to where the Dockerfiles look for those of the group."""
    shutil.copytree(wheels, target / WHEELS / group, copy_function=shutil.copyfile)
    for file in (target / WHEELS / group).iterdir():
        file.chmod(0o644)
    _open_folders(target / WHEELS)


def _open_folders(target: Path) -> None:
    for folder, _, _ in os.walk(target):
        # What a Dockerfile copies must be readable for the image's user.
        os.chmod(folder, 0o755)  # noqa: S103


def changed(wanted: dict[str, str], present: set[str]) -> dict[str, str]:
    """Of the images wanted (name -> reference) those that the daemon (references present) has to build."""
    return {name: reference for name, reference in wanted.items() if reference not in present}


def merge_references(recorded: str | None, built: dict[str, str]) -> dict[str, str]:
    """images.json after building: other images keep their entries; an unreadable file counts as none."""
    try:
        known = json.loads(recorded) if recorded else {}
    except ValueError:
        known = {}
    return dict(sorted({**(known if isinstance(known, dict) else {}), **built}.items()))


def _is_executable(file: Path) -> bool:
    return bool(file.stat().st_mode & 0o100)
