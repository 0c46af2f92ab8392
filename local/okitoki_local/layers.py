"""Images into a node layer by layer: what is sent is only what the node's content store lacks.

`kind load docker-image` sends whole images to every node, although a new build of ours shares all but its last layers
with the one before. containerd takes an OCI archive whose index names layers that are not in it as long as they are in
its store, and unpacks only snapshots that it does not have.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import posixpath
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from okitoki_local.environment import Environment
from okitoki_local.system import CommandFailed, LocalClusterError

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
CHUNK = 1 << 20


@dataclass(frozen=True)
class Saved:
    """An image unpacked from `docker save`: its configuration as it is, and its layers as files named by digest."""

    image: str
    configuration: bytes
    layers: tuple[Path, ...]  # bottom first; the file's name is the digest's hexadecimal part


def load_layers(env: Environment, images: Sequence[str], node: str, saved: Mapping[str, Saved]) -> int:
    """Load images (full names, tags included) into one node; returns how many bytes of layers were sent."""
    present = node_blobs(env, node)
    chosen = [saved[image] for image in images]
    missing = {layer for one in chosen for layer in one.layers if f"sha256:{layer.name}" not in present}
    command = ["docker", "exec", "--interactive", node, "ctr", "--namespace=k8s.io", "images", "import"]
    command += ["--digests", "--snapshotter=overlayfs", "-"]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **env.variables()},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
        if process.stdin is None:
            raise LocalClusterError("no pipe to ctr")
        broken = False
        try:
            write_archive(process.stdin, chosen, missing)
            process.stdin.close()
        except BrokenPipeError:
            broken = True  # ctr has ended, and says why
        if process.wait() != 0 or broken:
            output.seek(0)
            raise CommandFailed(command, process.returncode, output.read().decode(errors="replace"))
    return sum(layer.stat().st_size for layer in missing)


def node_blobs(env: Environment, node: str) -> set[str]:
    """Digests (`sha256:…`) in the node's content store."""
    return set(env.docker("exec", node, "ctr", "--namespace=k8s.io", "content", "ls", "--quiet").split())


def save(env: Environment, image: str, name: str, folder: Path) -> Saved:
    """Unpack `docker save IMAGE` into a folder; layers that are there already are left as they are.

    `name` is the image's full name on the node.
    """
    command = ["docker", "save", image]
    process = subprocess.Popen(command, env={**os.environ, **env.variables()}, stdout=subprocess.PIPE)
    if process.stdout is None:
        raise LocalClusterError("no pipe from docker save")
    saved = unpack(process.stdout, name, folder)
    if process.wait() != 0:
        raise CommandFailed(command, process.returncode, "")
    return saved


def unpack(stream: IO[bytes], name: str, folder: Path) -> Saved:
    """Read a `docker save` archive of one image (Docker Image Specification v1.2: manifest.json names the parts)."""
    layers: dict[str, Path] = {}
    links: dict[str, str] = {}
    texts: dict[str, bytes] = {}
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if member.issym():
                # A layer that occurs twice is a link the second time.
                links[member.name] = posixpath.normpath(f"{posixpath.dirname(member.name)}/{member.linkname}")
            elif member.isfile() and (content := archive.extractfile(member)) is not None:
                if member.name.endswith("/layer.tar"):
                    layers[member.name] = _store(content, folder)
                else:
                    texts[member.name] = content.read()
    manifests = json.loads(texts["manifest.json"])
    if len(manifests) != 1:
        raise LocalClusterError(f"docker save wrote {len(manifests)} images instead of one: {name}")
    ordered = tuple(layers[links.get(layer, layer)] for layer in manifests[0]["Layers"])
    return Saved(name, texts[manifests[0]["Config"]], ordered)


def write_archive(target: IO[bytes], images: Iterable[Saved], layers: Iterable[Path]) -> None:
    """Write an OCI archive of the images to a stream, with these of their layers in it."""
    blobs: dict[str, bytes] = {}
    entries: list[dict[str, Any]] = []
    for image in images:
        configuration = _descriptor(CONFIG_TYPE, image.configuration)
        manifest = json.dumps(manifest_of(image, configuration), sort_keys=True).encode()
        entry = _descriptor(MANIFEST_TYPE, manifest)
        entries.append({**entry, "annotations": {"io.containerd.image.name": image.image}})
        blobs |= {configuration["digest"]: image.configuration, entry["digest"]: manifest}
    with tarfile.open(fileobj=target, mode="w|") as archive:
        _add(archive, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        for digest, data in blobs.items():
            _add(archive, f"blobs/{digest.replace(':', '/')}", data)
        for layer in sorted(set(layers)):
            archive.add(layer, f"blobs/sha256/{layer.name}", recursive=False)
        _add(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": entries}).encode())


def manifest_of(image: Saved, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The OCI manifest. Layers are uncompressed: their digests are then those that the configuration names."""
    layers = [
        {"mediaType": LAYER_TYPE, "digest": f"sha256:{layer.name}", "size": layer.stat().st_size}
        for layer in image.layers
    ]
    return {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": dict(configuration), "layers": layers}


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    archive.addfile(member, io.BytesIO(data))


def _store(content: IO[bytes], folder: Path) -> Path:
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        while piece := content.read(CHUNK):
            digest.update(piece)
            file.write(piece)
    return Path(file.name).rename(folder / digest.hexdigest())
