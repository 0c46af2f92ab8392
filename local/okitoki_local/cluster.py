"""`cluster up`, `down`, `status`: the table of contents of everything else here."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import yaml

from okitoki_local import daemon, gobuild, health, host, kindconfig, network, nodeimage, versions
from okitoki_local.environment import Environment
from okitoki_local.health import Action
from okitoki_local.keys import key_of, key_of_files
from okitoki_local.progress import say, step
from okitoki_local.system import LocalClusterError, locked, wait_until

MANIFESTS = Path(__file__).resolve().parent.parent / "manifests"
# The number that kube-router marks its routes with.
BGP_ROUTES = "17"
STORAGE_NAMESPACE = "local-path-storage"


def up(env: Environment) -> None:
    """Have a healthy cluster: reuse it, mend it, or make it."""
    with locked(env.lock, f"the cluster {env.name}"):
        if env.private:
            host.prepare()
        decision = health.decide(health.observe(env, wanted_key(env)))
        say(f"cluster {env.name}: {decision.reason}; going to {decision.action.value}")
        if decision.action is Action.UNPAUSE:
            _unpause(env)
        if decision.action in (Action.UNPAUSE, Action.SETTLE) and not _settles(env):
            say("it does not settle; going to remake the cluster")
            decision = health.Decision(Action.REMAKE_CLUSTER, "")
        if decision.action in (Action.REMAKE_DAEMON, Action.REMAKE_CLUSTER, Action.CREATE):
            _remake(env, decision.action)
        say(f"cluster {env.name} is ready")


def wanted_key(env: Environment) -> str:
    """The key of everything that a cluster is made from: one of another key is out of date."""
    config = kindconfig.cluster_config("private" if env.private else None)
    return key_of(config, nodeimage.node_key() if env.private else "stock", key_of_files(*_manifest_files()))


def _manifest_files() -> list[Path]:
    return sorted(MANIFESTS.glob("*.yaml"))


def _remake(env: Environment, action: Action) -> None:
    env.state.mkdir(parents=True, exist_ok=True)
    image = _prepare_private(env, action) if env.private else None
    _remove_cluster(env)
    network.ensure(env)
    _create(env, image)
    _install_addons(env)
    _wait_ready(env)
    health.record(env, wanted_key(env))


def _prepare_private(env: Environment, action: Action) -> str:
    """A daemon, binaries and a node image; the daemon first, because base images can be made in it meanwhile."""
    if action is Action.REMAKE_DAEMON:
        daemon.destroy(env)
    if not daemon.answers(env):
        daemon.start(env)
    gobuild.build_all(env.cache)
    return nodeimage.ensure_node_image(env)


def _remove_cluster(env: Environment) -> None:
    (env.state / "cluster.json").unlink(missing_ok=True)
    if env.nodes():
        with step("removing the old cluster"):
            _kind(env, "delete", "cluster", "--name", env.name)
    env.kubeconfig.unlink(missing_ok=True)


def _create(env: Environment, image: str | None) -> None:
    config = env.state / "kind.yaml"
    config.write_text(yaml.safe_dump(kindconfig.cluster_config(image), sort_keys=False))
    with step(f"creating a cluster of {health.NODE_COUNT} nodes"):
        _kind(env, "create", "cluster", "--name", env.name, "--config", str(config))
        env.kubeconfig.chmod(0o600)


def _kind(env: Environment, *arguments: str) -> None:
    variables = {"KIND_EXPERIMENTAL_DOCKER_NETWORK": env.docker_network}
    env.run(["kind", *arguments, "--kubeconfig", env.kubeconfig], inside=False, env=variables, timeout=900)


def _install_addons(env: Environment) -> None:
    """CoreDNS is changed before there is a network, so that its pods are placed once, and well."""
    with step("installing the pod network"):
        patch = ("--patch-file", str(MANIFESTS / "coredns-patch.yaml"))
        env.kubectl("--namespace=kube-system", "patch", "deployment", "coredns", "--type=strategic", *patch)
        if env.private:
            names = ("--patch-file", str(MANIFESTS / "coredns-corefile.yaml"))
            env.kubectl("--namespace=kube-system", "patch", "configmap", "coredns", "--type=merge", *names)
        manifest = MANIFESTS / "kube-router.yaml"
        env.kubectl("apply", "--server-side", "--field-manager=okitoki-local", "-f", str(manifest))


def _wait_ready(env: Environment, timeout: int = 300) -> None:
    with step("waiting for nodes, pod network, CoreDNS and storage"):
        limit = f"--timeout={timeout}s"
        env.kubectl("wait", "--for=condition=Ready", "nodes", "--all", limit, timeout=timeout + 30)
        for namespace, what in (
            ("kube-system", "daemonset/kube-router"),
            ("kube-system", "daemonset/kube-proxy"),
            ("kube-system", "deployment/coredns"),
            (STORAGE_NAMESPACE, "deployment/local-path-provisioner"),
        ):
            env.kubectl("rollout", "status", f"--namespace={namespace}", what, limit, timeout=timeout + 30)
        wait_until("routes between the nodes", lambda: routes_complete(env), timeout=timeout, interval=1)


def routes_complete(env: Environment) -> bool:
    """Whether every node has a route to the pods of every other: kube-router is healthy before its peers are."""
    nodes = env.nodes()
    tables = [env.docker("exec", node, "ip", "route", "show", "proto", BGP_ROUTES) for node in nodes]
    return all(len(table.splitlines()) >= len(nodes) - 1 for table in tables)


def _unpause(env: Environment) -> None:
    for node in env.nodes():
        env.docker("unpause", node, check=False)


def _settles(env: Environment) -> bool:
    """Whether all nodes become Ready by themselves: they do after a pause, or when the machine was busy."""
    try:
        with step("waiting for all nodes to be Ready"):
            wait_until("all nodes", lambda: health.ready_nodes(env) == health.NODE_COUNT, timeout=180, interval=1)
    except (LocalClusterError, subprocess.TimeoutExpired):
        return False
    return True


def down(env: Environment) -> None:
    """Remove the cluster and all that was made for it; keep the builds."""
    with locked(env.lock, f"the cluster {env.name}"):
        if env.private:
            if env.state.exists() or daemon.pid(env) is not None:
                daemon.destroy(env)
        else:
            _remove_cluster(env)
            network.remove(env)
            shutil.rmtree(env.state, ignore_errors=True)
        env.lock.unlink(missing_ok=True)
    with suppress(OSError):
        env.state.parent.rmdir()  # other clusters may live there
    say(f"cluster {env.name} is gone; builds are kept in {env.cache} (`cluster clean-cache` removes them)")


def tools(env: Environment) -> None:
    """Only the tools, and the etcd and kube-apiserver that tests start by themselves."""
    gobuild.build_tools(env.cache)


def clean_cache(env: Environment) -> None:
    """Remove what was built; a running cluster does not need it, except for the tools."""
    shutil.rmtree(env.cache, ignore_errors=True)
    say(f"removed {env.cache}")


def status(env: Environment) -> int:
    """Print what there is; the exit code says whether it is healthy."""
    facts = health.observe(env, wanted_key(env))
    decision = health.decide(facts)
    print(f"cluster   {env.name} ({'built from source' if env.private else 'stock kind'})")
    print(f"health    {decision.reason}; `up` would {decision.action.value}")
    print(f"state     {env.state}")
    print(f"cache     {env.cache}")
    if facts.node_states:
        print(f"nodes     {', '.join(facts.node_states)}; {facts.nodes_ready} Ready")
        print(f"network   {network.subnet(env)}, regions {', '.join(network.region_addresses(env)[:4])} ...")
    print(f"versions  {json.dumps({'kubernetes': versions.KUBERNETES, 'kind': versions.KIND})}")
    return 0 if decision.action is Action.REUSE else 1
