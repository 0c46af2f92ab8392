"""Images from the cluster's Docker daemon into its nodes, and only what a node does not have yet."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from okitoki_local import layers
from okitoki_local.environment import Environment
from okitoki_local.progress import say, step
from okitoki_local.system import CommandFailed, LocalClusterError

NODES_AT_ONCE = 2
"""One node's unpacking waits for the disk about as long as it computes; more at once only take each other's turns."""


def load_images(env: Environment, images: Sequence[str], nodes: Sequence[str] | None = None) -> list[str]:
    """Load images into the nodes (the workers unless told otherwise); return the images that any node lacked."""
    targets = list(nodes) if nodes is not None else env.workers()
    wanted = {image: image_id(env, image) for image in images}
    present = {node: node_images(env, node) for node in targets}
    work = missing_by_nodes(wanted, present)
    for lacking, batch in work.items():
        with step(f"loading {', '.join(batch)} into {len(lacking)} nodes"):
            if env.private:
                _load_by_layers(env, batch, lacking)
            else:
                command = ["kind", "load", "docker-image", "--name", env.name, "--nodes", ",".join(lacking), *batch]
                env.run(command, inside=False, timeout=900)
    return sorted({image for batch in work.values() for image in batch})


def _load_by_layers(env: Environment, images: Sequence[str], nodes: Sequence[str]) -> None:
    (env.cache / "tmp").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=env.cache / "tmp") as folder:
        saved = {image: layers.save(env, image, normalised(image), Path(folder)) for image in images}

        def load(node: str) -> None:
            sent = layers.load_layers(env, images, node, saved)
            say(f"{node}: {sent / 1e6:.0f} MB of layers it did not have")

        with ThreadPoolExecutor(max_workers=NODES_AT_ONCE) as pool:
            list(pool.map(load, nodes))


def missing_by_nodes(
    wanted: Mapping[str, str], present: Mapping[str, Mapping[str, str]]
) -> dict[tuple[str, ...], list[str]]:
    """Nodes -> the images that exactly these nodes lack, so that images with common layers travel together."""
    work: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for image, identity in wanted.items():
        lacking = tuple(node for node, has in present.items() if has.get(normalised(image)) != identity)
        if lacking:
            work[lacking].append(image)
    return dict(work)


def normalised(image: str) -> str:
    """The full name that containerd keeps an image under: app:local is docker.io/library/app:local."""
    name, _, tag = image.rpartition(":") if ":" in image.rsplit("/", 1)[-1] else (image, "", "latest")
    first = name.split("/", 1)[0]
    if "/" not in name:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    return f"{name}:{tag}"


def image_id(env: Environment, image: str) -> str:
    """The image's ID in the daemon; it is the same on a node once the image is loaded."""
    try:
        return env.docker("image", "inspect", "--format", "{{.Id}}", image).strip()
    except CommandFailed as failure:
        raise LocalClusterError(f"the cluster's Docker daemon has no image {image}: build it first") from failure


def node_images(env: Environment, node: str) -> dict[str, str]:
    """Full name -> ID of each image on a node."""
    listed = json.loads(env.docker("exec", node, "crictl", "images", "--output", "json"))
    return {tag: image["id"] for image in listed["images"] for tag in image.get("repoTags") or []}
