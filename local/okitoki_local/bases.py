"""Debian base images without a registry: mmdebstrap makes a root file system, `docker import` makes it an image."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from okitoki_local import system, versions
from okitoki_local.environment import Environment
from okitoki_local.keys import key_of
from okitoki_local.progress import step

PATH_VARIABLE = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Nobody reads manuals in a container, and they are a fifth of it.
LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*")
KEPT = ("/usr/share/doc/*/copyright", "/usr/share/locale/locale.alias")


def parse_packages(text: str) -> list[str]:
    """The packages in a list file: words; `#` starts a comment."""
    return sorted({word for line in text.splitlines() for word in line.split("#", 1)[0].split()})


def base_key(packages: Iterable[str], suite: str, before: Path | None = None) -> str:
    """The hash of what a base is made from; the order of the packages doesn't matter."""
    files = [] if before is None else sorted(file for file in before.rglob("*") if file.is_file())
    contents = [[str(file.relative_to(before or file)), file.read_text()] for file in files]
    return key_of("base", versions.BASE_RECIPE, suite, sorted(set(packages)), LEFT_OUT, KEPT, *contents)


def tarball(cache: Path, name: str, packages: Iterable[str], suite: str, before: Path | None = None) -> Path:
    """Where the base's root file system is, whether or not it has been made."""
    return cache / "bases" / f"{name}-{base_key(packages, suite, before)}.tar"


def ensure_base(
    env: Environment,
    name: str,
    packages: list[str],
    suite: str = versions.DEFAULT_SUITE,
    before: Path | None = None,
) -> str:
    """Make `okitoki/base-NAME:HASH` (also tagged `:local`) in the cluster's daemon and return that tag.

    Nothing is done when the daemon has it. A daemon that was made anew gets it from the tarball in the cache.
    `before` is a folder with (text) files to be in place before the packages are installed: what the packages' scripts
    and dpkg read.
    """
    image = f"okitoki/base-{name}"
    tag = f"{image}:{base_key(packages, suite, before)}"
    with system.locked(env.cache / "bases" / f"{name}.lock", f"making the base image {name}"):
        if not image_exists(env, tag):
            archive = ensure_tarball(env.cache, name, packages, suite, before)
            with step(f"importing {tag}"):
                env.docker("import", "--change", f"ENV {PATH_VARIABLE}", "--change", "CMD bash", str(archive), tag)
        env.docker("tag", tag, f"{image}:local")
    return tag


def image_exists(env: Environment, tag: str) -> bool:
    """Whether the cluster's daemon has the image."""
    return env.docker("image", "ls", "--quiet", tag).strip() != ""


def ensure_tarball(cache: Path, name: str, packages: list[str], suite: str, before: Path | None = None) -> Path:
    """The base's root file system as a tar file, made if the cache lacks it."""
    target = tarball(cache, name, packages, suite, before)
    if target.exists():
        return target
    debs = cache / "apt" / suite
    for folder in (target.parent, debs, cache / "tmp"):
        folder.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".unfinished.tar")
    with step(f"making the base image {name} from {len(packages)} packages of Debian {suite}"):
        # TMPDIR: mmdebstrap unpacks there, and hard links to the cached packages need one file system.
        system.run(mmdebstrap_command(unfinished, packages, suite, debs, before), env={"TMPDIR": str(cache / "tmp")})
    os.replace(unfinished, target)
    for old in target.parent.glob(f"{name}-*.tar"):
        if old != target:
            old.unlink()
    return target


def mmdebstrap_command(
    target: Path, packages: list[str], suite: str, debs: Path, before: Path | None = None
) -> list[str]:
    """The mmdebstrap call: the smallest Debian with these packages, its downloads shared between runs."""
    archives = '"$1"/var/cache/apt/archives'
    command = ["nice", "-n", "5", "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--components=main"]
    command += [f"--include={','.join(sorted(set(packages)))}"] if packages else []
    command += ["--skip=essential/unlink"]
    # A hard link costs nothing; the packages leave the root file system when mmdebstrap cleans apt's cache.
    command += [f"--setup-hook=mkdir -p {archives}/partial && cp -l '{debs}'/*.deb {archives}/ 2>/dev/null || true"]
    command += [f"--customize-hook=cp -ln {archives}/*.deb '{debs}'/ 2>/dev/null || true"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    command += [f"--dpkgopt=path-include={pattern}" for pattern in KEPT]
    if before is not None:
        command += [f"--essential-hook=cp -R '{before}'/. \"$1\"/"]
    command += [suite, str(target)]
    security = versions.DEBIAN_SECURITY_MIRROR
    return [
        *command,
        f"deb {versions.DEBIAN_MIRROR} {suite} main",
        f"deb {versions.DEBIAN_MIRROR} {suite}-updates main",
        f"deb {security} {suite}-security main",
    ]
