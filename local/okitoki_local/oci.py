"""Container images written without a daemon: an OCI archive is a tar file of blobs named by their hashes.

The control plane's images are one static binary each, so a Dockerfile, a daemon and a registry would all be detours.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATH_VARIABLE = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
# Speed over size: these layers are unpacked on five nodes of one machine, and never travel.
COMPRESSION = 1


@dataclass(frozen=True)
class Image:
    """An image to write: files over an optional root file system (a tar file) under one or more tags."""

    tags: tuple[str, ...]
    files: Mapping[str, Path] = field(default_factory=dict)
    base: Path | None = None
    entrypoint: tuple[str, ...] = ()


@dataclass(frozen=True)
class Blob:
    """One content-addressed part of an archive."""

    file: Path
    digest: str
    size: int
    uncompressed_digest: str = ""


def write_archive(target: Path, images: Sequence[Image], scratch: Path) -> None:
    """Write an OCI archive with all images; a base that several of them share is in it once."""
    scratch.mkdir(parents=True, exist_ok=True)
    bases = {image.base: _compress(image.base, scratch) for image in images if image.base is not None}
    blobs: list[Blob] = list(bases.values())
    entries: list[dict[str, Any]] = []
    for image in images:
        layers = [bases[image.base]] if image.base is not None else []
        if image.files:
            layers.append(_file_layer(image.files, scratch))
        configuration = _json_blob(image_configuration(image, [layer.uncompressed_digest for layer in layers]), scratch)
        manifest = _json_blob(image_manifest(configuration, layers), scratch)
        blobs += [*layers, configuration, manifest]
        entries += [index_entry(manifest, tag) for tag in image.tags]
    _write_tar(target, blobs, entries)
    shutil.rmtree(scratch)


def image_configuration(image: Image, layer_digests: Sequence[str]) -> dict[str, Any]:
    """The OCI image configuration. PATH must be set: manifests call programs by their bare names."""
    settings: dict[str, Any] = {"Env": [PATH_VARIABLE]}
    if image.entrypoint:
        settings["Entrypoint"] = list(image.entrypoint)
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": list(layer_digests)},
    }


def image_manifest(configuration: Blob, layers: Sequence[Blob]) -> dict[str, Any]:
    """The OCI manifest that ties a configuration to its layers."""
    layer_type = "application/vnd.oci.image.layer.v1.tar+gzip"
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(configuration, "application/vnd.oci.image.config.v1+json"),
        "layers": [_descriptor(layer, layer_type) for layer in layers],
    }


def index_entry(manifest: Blob, tag: str) -> dict[str, Any]:
    """An entry of the archive's index; containerd takes the image's name from the annotation."""
    return {
        **_descriptor(manifest, MANIFEST_TYPE),
        "platform": {"architecture": "amd64", "os": "linux"},
        "annotations": {"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": tag.rsplit(":", 1)[-1]},
    }


def _descriptor(blob: Blob, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _json_blob(content: dict[str, Any], scratch: Path) -> Blob:
    data = json.dumps(content, sort_keys=True).encode()
    digest = hashlib.sha256(data).hexdigest()
    file = scratch / digest
    file.write_bytes(data)
    return Blob(file, f"sha256:{digest}", len(data))


def _file_layer(files: Mapping[str, Path], scratch: Path) -> Blob:
    plain = scratch / "layer.tar"
    with tarfile.open(plain, "w") as layer:
        for folder in sorted({str(parent) for name in files for parent in Path(name).parents} - {"/", "."}):
            entry = tarfile.TarInfo(folder.lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            layer.addfile(entry)
        for name, source in sorted(files.items()):
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.mode, entry.size = 0o755, source.stat().st_size
            with source.open("rb") as content:
                layer.addfile(entry, content)
    return _compress(plain, scratch)


def _compress(plain: Path, scratch: Path) -> Blob:
    whole = hashlib.sha256()
    packed = scratch / "packed"
    # No name and no time in the header: the same files always make the same image.
    with (
        plain.open("rb") as source,
        packed.open("wb") as raw,
        gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) as target,
    ):
        while piece := source.read(1 << 20):
            whole.update(piece)
            target.write(piece)
    with packed.open("rb") as result:
        digest = hashlib.file_digest(result, "sha256").hexdigest()
    file = packed.rename(scratch / digest)
    return Blob(file, f"sha256:{digest}", file.stat().st_size, f"sha256:{whole.hexdigest()}")


def _write_tar(target: Path, blobs: Sequence[Blob], entries: Sequence[dict[str, Any]]) -> None:
    index = {"schemaVersion": 2, "manifests": list(entries)}
    with tarfile.open(target, "w") as archive:
        _add_bytes(archive, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _add_bytes(archive, "index.json", json.dumps(index).encode())
        for blob in {blob.digest: blob for blob in blobs}.values():
            archive.add(blob.file, "blobs/" + blob.digest.replace(":", "/"), recursive=False)


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
