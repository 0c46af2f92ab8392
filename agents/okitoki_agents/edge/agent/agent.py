"""Puts the agent together: sources (API, apps, guard) on one side, Kamailio, HAProxy, Redis and the pod's status on
the other.

Every source sets state and wakes the loop; the loop compares what is wanted with what is and mends it. State that a
restart needs before the API answers is on disk first.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import aiohttp

from okitoki_agents.edge import kamailio, registrations, store
from okitoki_agents.edge.agent import (
    endpoints,
    haproxy,
    landline_mode,
    load,
    ng,
    peer,
    reporter,
    routes,
    server,
    status,
    tenants,
    trunks,
    tunnel_keys,
)
from okitoki_agents.edge.agent.app_client import Answer, AppClient
from okitoki_agents.edge.agent.deliver import Deliverer
from okitoki_agents.edge.agent.endpoints import Backend
from okitoki_agents.edge.agent.feed import Feed
from okitoki_agents.edge.agent.haproxy_config import Files
from okitoki_agents.edge.agent.pair import Pair
from okitoki_agents.edge.agent.tenants import EdgeTenant
from okitoki_agents.edge.certificates import SipCertificate
from okitoki_agents.edge.facts import Facts
from okitoki_agents.kube import ApiClient, Object, Reflector

log = logging.getLogger(__name__)

CONVERGE_SECONDS = 1.0
"""How often everything is compared although nothing was reported: HAProxy and Kamailio may restart at any time."""
KEEP_SECONDS = 5.0
"""How often registrations are copied to disk."""
TLS_SECRET = "edge-tls"  # noqa: S105 - a name
APP_SERVICE_LABEL = "kubernetes.io/service-name"


class Agent:
    """The agent of one node."""

    def __init__(self, facts: Facts, client: ApiClient, files: Files, haproxy_binary: str = "haproxy") -> None:
        region = facts.region
        self._facts, self._client = facts, client
        self._folder = facts.paths.data / "agent"
        self._wake = asyncio.Event()
        self._apps = AppClient(files.ca)
        self._ca_file = files.ca
        self._ca: bytes | None = None
        self._ca_problem: str | None = None
        self._haproxy = haproxy.Haproxy(files, region.https, region.ports.https, haproxy_binary)
        self._tenants: dict[str, EdgeTenant] = {}
        self._tenants_known = False
        self._backends: dict[str, tuple[Backend, ...]] = {}
        self._pem: bytes | None = None
        self._sip_certificate = SipCertificate(facts.paths)
        self._tunnel_keys = tunnel_keys.TunnelKeys(facts)
        self._feeds: dict[str, Feed] = {}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._published: kamailio.Routes | None = None
        self._publish_error: str | None = None
        self._pods = self._reflector("pods", "app.kubernetes.io/name=edge", self._on_pods)
        self._secrets = self._reflector("secrets", "", self._on_secrets)
        self._pair = Pair(facts, self._wake.set)
        self._deliverer = Deliverer(
            self._pair.own_redis,
            lambda: self._pair.peer_redis,
            self._send,
            self._knows_call,
            lambda number: f"media-{number}" in self._pair.own.holds,
        )
        self._trunks = trunks.Trunks(facts, self._pair, self._folder / "trunks.json", self._wake.set)
        self._landlines = landline_mode.LandlineMode(
            facts,
            self._pair,
            self._folder,
            lambda tenant: not self._tenants_known or tenant in self._tenants,
            self._wake.set,
        )
        self._reporter = reporter.Reporter(client, facts.pod_namespace, facts.pod_name)

    def _reflector(self, kind: str, selector: str, on_change: Callable[[dict[str, Object]], None]) -> Reflector:
        path = f"/api/v1/namespaces/{self._facts.pod_namespace}/{kind}"
        return Reflector(self._client, path, selector, on_change)

    async def run(self) -> None:
        """Work until cancelled. An exception here is a fault of this program: the container restarts, nothing else
        does."""
        self._load()
        runner = await server.serve(
            server.application(self.unready, self._node_document, self._samples),
            self._facts.node_ip,
            self._facts.region.ports.agent,
        )
        try:
            pair = self._pair
            works = (self._pods, self._secrets, pair, pair.deputy, self._deliverer, self._trunks, self._landlines)
            async with asyncio.TaskGroup() as group:
                self._group = group
                for work in works:
                    group.create_task(work.run())
                group.create_task(self._repeat(self._converge))
                group.create_task(self._repeat(self._report))
                group.create_task(self._keep_registrations())
                if self._facts.region.max_calls is not None:
                    group.create_task(load.run(self._facts))
        finally:
            await runner.cleanup()
            await self._apps.close()
            await self._client.close()

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        problem = None
        while True:
            self._wake.clear()
            before = problem
            try:
                await work()
                problem = None
            except OSError as error:
                # A full disk or an unreadable CA file: what runs goes on, and the next round tries again.
                problem = f"{type(error).__name__} {error}"
            if problem is not None and problem != before:
                log.error("%s", problem)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONVERGE_SECONDS):
                    await self._wake.wait()

    async def _keep_registrations(self) -> None:
        problem = None
        while True:
            before = problem
            try:
                await asyncio.to_thread(registrations.keep, self._facts.paths)
                problem = None
            except (OSError, sqlite3.Error) as error:
                problem = f"{type(error).__name__} {error}"
            if problem is not None and problem != before:
                log.error("registrations are not kept on disk: %s", problem)
            await asyncio.sleep(KEEP_SECONDS)

    # What an earlier agent left on disk

    def _load(self) -> None:
        pem = self._folder / "tls.pem"
        self._pem = pem.read_bytes() if pem.exists() else None
        self._pair.peer_address = peer.remember(self._facts.paths, None)
        document = store.read_json(self._folder / "tenants.json")
        if document is None:
            return
        for item in document["tenants"]:
            try:
                tenant = tenants.parse_tenant(item)
            except tenants.TenantError as error:
                log.error("a tenant on disk is passed over: %s", error)
                continue
            self._tenants[tenant.tenant] = tenant
        self._backends = {
            name: tuple(Backend(address) for address in addresses) for name, addresses in document["backends"].items()
        }
        self._tenants_known = True

    def _save(self) -> None:
        document = {
            "tenants": [tenant.document() for _, tenant in sorted(self._tenants.items())],
            "backends": {
                name: [backend.address for backend in self._backends.get(name, ())] for name in sorted(self._tenants)
            },
        }
        store.write_json(self._folder / "tenants.json", document)
        if self._pem is not None:
            store.write_atomically(self._folder / "tls.pem", self._pem)

    # What the API server says

    def _on_pods(self, pods: dict[str, Object]) -> None:
        found = peer.choose_peer(pods.values(), self._facts.pod_name, self._facts.node_ip)
        self._pair.peer_address = peer.remember(self._facts.paths, found)
        own = pods.get(self._facts.pod_name)
        self._pair.drained = bool(own and (own["metadata"].get("annotations") or {}).get(status.DRAIN))
        self._wake.set()

    def _on_secrets(self, secrets: dict[str, Object]) -> None:
        found, errors = tenants.tenants_of_secrets(secrets)
        for name, problem in errors.items():
            log.error("Secret %s is passed over: %s", name, problem)
            # A broken edit must not take a tenant off the air.
            kept = (secrets[name]["metadata"].get("labels") or {}).get(tenants.TENANT_LABEL)
            if kept in self._tenants and kept not in found:
                found[kept] = self._tenants[kept]
        self._tenants, self._tenants_known = found, True
        self._tunnel_keys.learn(secrets.get(tunnel_keys.SECRET))
        self._pem = tenants.certificate_of_secret(secrets.get(TLS_SECRET)) or self._pem
        self._wake.set()

    def _on_slices(self, tenant: str, slices: dict[str, Object]) -> None:
        self._backends[tenant] = endpoints.backends_of_slices(slices.values())
        self._wake.set()

    # What follows from it

    async def _converge(self) -> None:
        if not self._tenants_known:
            return
        self._tunnel_keys.converge(self._pair.peer_tunnel_keys)
        self._follow_tenants()
        self._save()
        self._read_ca()
        if self._pem is not None and self._ca is not None:
            self._haproxy.want(self._tenants, self._backends, self._pem, self._ca)
            await self._haproxy.converge()
            self._sip_certificate.want(self._pem)
            await asyncio.to_thread(self._sip_certificate.converge)
        await self._publish()

    def _read_ca(self) -> None:
        """The file changes with the platform's authorities; while it cannot be read the last content holds."""
        try:
            self._ca, problem = self._ca_file.read_bytes(), None
        except OSError as error:
            problem = f"the authorities cannot be read: {error}"
        if problem is not None and problem != self._ca_problem:
            log.error("%s", problem)
        self._ca_problem = problem

    def _follow_tenants(self) -> None:
        """One feed and one watch of its app's pods per tenant."""
        for name in set(self._feeds) - set(self._tenants):
            log.info("tenant %s is gone", name)
            for task in self._tasks.pop(name):
                task.cancel()
            self._feeds.pop(name).forget()
            self._backends.pop(name, None)
        for name, tenant in self._tenants.items():
            feed = self._feeds.get(name)
            if feed is not None and (feed.tenant.namespace, feed.tenant.service) != (tenant.namespace, tenant.service):
                for task in self._tasks.pop(name):
                    task.cancel()
                feed = None
            if feed is None:
                feed = self._feeds[name] = Feed(tenant, self._folder / "routes", self._apps, self._wake.set)
                feed.load()
                self._tasks[name] = [self._group.create_task(work) for work in (feed.run(), self._watch(tenant))]
                log.info("tenant %s: %s", name, feed.routes or "no routes on disk")
            feed.tenant, feed.backends = tenant, self._backends.get(name, ())

    async def _watch(self, tenant: EdgeTenant) -> None:
        path = f"/apis/discovery.k8s.io/v1/namespaces/{tenant.namespace}/endpointslices"
        selector = f"{APP_SERVICE_LABEL}={tenant.service}"
        await Reflector(self._client, path, selector, lambda found: self._on_slices(tenant.tenant, found)).run()

    async def _publish(self) -> None:
        feeds = {name: feed.routes for name, feed in self._feeds.items() if feed.routes is not None}
        wanted = routes.merge(self._tenants, feeds)
        try:
            published = await kamailio.publish(wanted, self._facts.paths)
            error = None if published else "not running yet"
        except kamailio.KamailioError as problem:
            published, error = False, str(problem)
        if published and wanted != self._published:
            log.info("Kamailio has %d numbers and %d agents", len(wanted.numbers), len(wanted.ha1))
        if error != self._publish_error:
            log.log(logging.WARNING if error else logging.INFO, "Kamailio: %s", error or "has the routes")
        self._published, self._publish_error = (wanted if published else None), error

    # Call records

    async def _send(self, tenant: str, path: str, document: dict[str, Any]) -> Answer:
        known = self._tenants[tenant]
        return await self._apps.request(known, self._backends.get(tenant, ()), "PUT", path, document=document)

    async def _knows_call(self, call_id: str) -> bool:
        """Either engine of this node will do: an INVITE may have been given to one or the other, and each holds its
        twin's calls as well."""
        answers = [await ng.knows_call("127.0.0.1", port, call_id) for port in self._facts.region.ports.ng]
        return any(answers)

    # What this node says of itself

    def unready(self) -> list[str]:
        """Why this node could not take all addresses now; empty: it is ready."""
        return status.unready(
            self._pair.own, self._pair.guard_alive, self._published is not None, self._haproxy_problem()
        )

    def _haproxy_problem(self) -> str | None:
        if self._pem is None:
            return "there is no certificate yet (Secret edge-tls)"
        if self._ca is None:
            return self._ca_problem
        return self._haproxy.error

    def _node_document(self) -> dict[str, Any]:
        return status.node_document(self._own(), not self.unready())

    def _own(self) -> status.Node:
        return replace(
            self._pair.now(),
            trunks=self._trunks.documents(),
            landlines=self._landlines.documents(),
            tunnel_keys=self._tunnel_keys.generation,
        )

    async def _report(self) -> None:
        document = status.annotation(
            replace(self._own(), landlines=landline_mode.reported(self._landlines.states)),
            self._pair.since,
            self._pair.peer_address,
            self._pair.peer is not None and self._pair.peer.answers,
            self._pair.unprotected,
            {name: feed.etag for name, feed in self._feeds.items() if feed.routes is not None},
            self._deliverer.dead_letters,
            self._haproxy.certificate,
            self._haproxy.authorities,
        )
        try:
            await self._reporter.report(document, self._pods.objects.get(self._facts.pod_name))
        except (aiohttp.ClientError, TimeoutError) as error:
            log.debug("status: %s %s", type(error).__name__, error)

    def _samples(self) -> list[server.Sample]:
        pair, records = self._pair, self._deliverer
        samples: list[server.Sample] = [
            ("okitoki_edge_ready", {}, float(not self.unready())),
            ("okitoki_edge_protected", {}, float(not pair.unprotected)),
            ("okitoki_edge_haproxy_reloads_total", {}, float(self._haproxy.reloads)),
            ("okitoki_edge_sip_certificate_good", {}, float(self._sip_certificate.problem is None)),
        ]
        samples += [
            ("okitoki_edge_holds", {"address": name}, float(name in pair.own.holds)) for name in status.HOLDABLE
        ]
        samples += [
            ("okitoki_edge_address_comings_total", {"address": name}, float(count))
            for name, count in pair.own.comings.items()
        ]
        samples += [
            ("okitoki_edge_service_ok", {"service": name}, float(state == "ok"))
            for name, state in pair.own.services.items()
        ]
        if "sip" in pair.own.holds:
            samples += self._trunks.samples()
            samples += [
                ("okitoki_edge_tenant_landlines", {"tenant": name}, float(state.mode == "landlines"))
                for name, state in self._landlines.states.items()
            ]
        for engine, counts in pair.own.sessions.items():
            for kind, count in (("own", counts.own), ("foreign", counts.foreign)):
                samples.append(("okitoki_edge_sessions", {"engine": engine, "kind": kind}, float(count)))
        samples += [
            ("okitoki_edge_tenant_routes_good", {"tenant": name}, float(feed.error is None and feed.routes is not None))
            for name, feed in self._feeds.items()
            if feed.tenant.served
        ]
        for state, count in (("live", records.live), ("waiting", records.waiting), ("dead", records.dead_letters)):
            samples.append(("okitoki_edge_call_records", {"state": state}, float(count)))
        samples += [
            ("okitoki_edge_call_records_total", {"result": result}, float(count))
            for result, count in records.counts.items()
        ]
        return samples
