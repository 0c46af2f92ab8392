"""The Tenant in the reconcile loop: which step is what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from okitoki.api.tenant import Tenant, storage_size
from okitoki.database.agent_api import AgentApi, AgentError
from okitoki.database.patroni_api import PatroniApi, PatroniError
from okitoki.database.spec import claim_of
from okitoki.database.stopping import CONFIG_MAP, announcement
from okitoki.kube import labels, names
from okitoki.kube import resources as kinds
from okitoki.kube.apply import Live
from okitoki.kube.resources import Manifest, ResourceType
from okitoki.metrics.domain import Measures
from okitoki.reconcile.certificate import CERTIFICATE_CURRENT, certificate_status
from okitoki.reconcile.conditions import Condition, summary
from okitoki.reconcile.index import Index
from okitoki.reconcile.kind import Action, Context, News, Outcome, Scope
from okitoki.reconcile.parse import parse
from okitoki.tenant import decide, secrets
from okitoki.tenant.app_api import AppApi, AppUnavailable, HttpsAppApi
from okitoki.tenant.build import build, withheld
from okitoki.tenant.conditions import conditions
from okitoki.tenant.facts import Observed, accepted_numbers, hosts
from okitoki.tenant.finalize import finalize
from okitoki.tenant.layers import backup_status
from okitoki.tenant.measures import REBUILT, last_primary, last_reinitialised, last_switchover, measures, news
from okitoki.tenant.observe import observe
from okitoki.tenant.shown import Handshake, ShownCertificates

RECHECK_SECONDS = 5.0
"""While a tenant is not ready: some of what is awaited (Patroni's store, the app's answer) sends no watch event."""

OWN_KINDS = (
    kinds.SERVICE_ACCOUNT, kinds.ROLE, kinds.ROLE_BINDING, kinds.SECRET, kinds.CONFIG_MAP, kinds.SERVICE,
    kinds.NETWORK_POLICY, kinds.POD_DISRUPTION_BUDGET, kinds.STATEFUL_SET, kinds.DEPLOYMENT,
)  # fmt: skip


class TenantKind:
    """See `okitoki.reconcile.kind.Kind`."""

    resource: ResourceType = kinds.TENANT
    owner_label = labels.TENANT
    watched: Sequence[ResourceType] = (kinds.NAMESPACE, *OWN_KINDS, kinds.POD)
    only_applied: Sequence[ResourceType] = (
        kinds.SERVICE_ACCOUNT, kinds.ROLE, kinds.ROLE_BINDING, kinds.SERVICE, kinds.NETWORK_POLICY,
        kinds.POD_DISRUPTION_BUDGET,
    )  # fmt: skip

    def __init__(
        self,
        app_api: Callable[[str], AppApi] = HttpsAppApi,
        patroni_api: PatroniApi | None = None,
        agent_api: AgentApi | None = None,
        handshake: Handshake | None = None,
    ) -> None:
        """`app_api` makes the client of the apps from the authorities to trust (PEM)."""
        self._make_app_api = app_api
        self._app_api: tuple[str, AppApi] | None = None
        self._shown = ShownCertificates(handshake)
        self._patroni = patroni_api or PatroniApi()
        self._agents = agent_api or AgentApi()

    def parse(self, raw: Manifest) -> Tenant:
        """Raises `InvalidResource`."""
        return parse(Tenant, raw)

    def scopes(self, resource: Tenant, index: Index) -> Sequence[Scope]:
        """The own namespace, and the edge Secrets in every region (also in those the tenant left)."""
        name = resource.metadata.name
        namespace = names.tenant_namespace(name)
        return [
            Scope(None, (kinds.NAMESPACE,), names=(namespace,)),
            Scope(namespace, OWN_KINDS),
            *(
                # By name: a selector would have the API server look at the Secrets of all the region's tenants.
                Scope(names.region_namespace(region), (kinds.SECRET,), names=(names.edge_tenant_secret(name),))
                for region in sorted(index.regions)
            ),
        ]

    async def observe(self, ctx: Context, resource: Tenant, live: Live) -> Observed:
        """Reads only."""
        return await observe(ctx, resource, live, self._app(ctx), self._patroni, self._shown)

    async def prepare(self, ctx: Context, resource: Tenant, observed: Observed) -> Observed:
        """Generates what is missing of secrets and certificates; nothing where nothing is applied, or the status would
        tell of another certificate each time."""
        if withheld(resource, observed):
            return observed
        return secrets.fill(resource, observed, observed.settings.authorities.current, ctx.now())

    def build(self, resource: Tenant, observed: Observed) -> Sequence[Manifest]:
        """The wanted objects in order."""
        return build(resource, observed)

    def may_prune(self, resource: Tenant, observed: Observed) -> bool:
        """Only in an own namespace, and not while a part of the objects cannot be built."""
        return observed.namespace == "ours" and not observed.passwords_lost

    def decide(self, resource: Tenant, observed: Observed) -> Sequence[Action]:
        """See `okitoki.tenant.decide`."""
        return decide.decide(resource, observed)

    async def act(self, ctx: Context, resource: Tenant, observed: Observed, action: Action) -> str | None:
        """One action; what went wrong, or None."""
        namespace = names.tenant_namespace(resource.metadata.name)
        try:
            match action.name:
                case decide.PROVISION:
                    await self._app(ctx).write(namespace, observed.secrets.app["platform-token"], action.data)
                case decide.CONFIGURE_DATABASE:
                    password = observed.secrets.database["rest-password"]
                    await self._patroni.configure(action.data["address"], password, action.data["changes"])
                case decide.ANNOUNCE_STOP:
                    patch = announcement(action.data["stops"])
                    await ctx.client.merge_patch(kinds.CONFIG_MAP, CONFIG_MAP, patch, namespace=namespace)
                case decide.REBUILD_MEMBER:
                    await self._rebuild(ctx, resource, namespace, action)
                case decide.SWITCH_OVER:
                    await self._switch_over(ctx, resource, observed, action)
                case decide.GROW_VOLUMES:
                    patch = {"spec": {"resources": {"requests": {"storage": action.data["size"]}}}}
                    for claim in action.data["claims"]:
                        await ctx.client.merge_patch(kinds.PERSISTENT_VOLUME_CLAIM, claim, patch, namespace=namespace)
        except (AppUnavailable, PatroniError, AgentError) as error:
            return str(error)
        return None

    async def _switch_over(self, ctx: Context, resource: Tenant, observed: Observed, action: Action) -> None:
        """The request is taken away first, so that it is never acted on twice; raises `AgentError`."""
        metadata = resource.metadata
        annotations = {"annotations": {labels.SWITCHOVER: None}, "resourceVersion": metadata.resource_version}
        raw = await ctx.client.merge_patch(kinds.TENANT, metadata.name, {"metadata": annotations})
        try:
            if action.data["address"] is None:
                raise AgentError(action.reason)
            password = observed.secrets.database["rest-password"]
            word = await self._agents.handover(action.data["address"], password, action.data["to"])
        except AgentError as error:
            refused = action.data["address"] is None
            await ctx.events.record(raw, "Warning", f"Switchover{'Refused' if refused else 'Failed'}", str(error))
            raise
        await ctx.events.record(raw, "Normal", "SwitchedOver", f"{action.reason}: {word}")

    async def _rebuild(self, ctx: Context, resource: Tenant, namespace: str, action: Action) -> None:
        """The claim first: it goes when its pod has gone, and the StatefulSet makes both anew."""
        member = action.data["member"]
        if (raw := ctx.index.tenants.get(resource.metadata.name)) is not None:
            await ctx.events.record(raw, "Warning", "MemberRebuilt", action.reason)
        claim, uid = claim_of(member), action.data["claim_uid"]
        await ctx.client.delete(kinds.PERSISTENT_VOLUME_CLAIM, claim, namespace, uid=uid)
        if action.data["pod_uid"] is not None:
            await ctx.client.delete(kinds.POD, member, namespace, uid=action.data["pod_uid"], grace_seconds=0)
        ctx.series.count((kinds.TENANT.kind, resource.metadata.name), REBUILT)

    def conditions(self, resource: Tenant, observed: Observed, outcome: Outcome) -> Sequence[Condition]:
        """See `okitoki.tenant.conditions`."""
        return conditions(resource, observed, outcome)

    def status(self, resource: Tenant, observed: Observed, outcome: Outcome) -> Mapping[str, Any]:
        """The rest of the status (`okitoki.api.status.TenantStatus`)."""
        certificate = certificate_status(observed.settings.authorities, observed.secrets.tls, observed.use)
        if observed.namespace == "foreign":
            return {"certificate": certificate}
        database, wanted = observed.database, resource.spec.database.instances
        known = observed.profile is not None
        return {
            "namespace": names.tenant_namespace(resource.metadata.name),
            "hosts": hosts(resource, observed),
            "database": {
                "primary": database.primary.name if database.primary else None,
                "lastPrimary": last_primary(outcome.before, observed),
                "members": f"{database.in_order}/{wanted}",
                "storage": storage_size(max(sizes)) if (sizes := observed.volumes.sizes.values()) else None,
                "lastSwitchover": last_switchover(resource, observed, outcome),
                "lastReinitialised": last_reinitialised(observed),
            },
            "app": {"replicas": f"{observed.app.ready}/{resource.spec.app.replicas}"},
            "certificate": certificate,
            "numbers": len(accepted_numbers(resource, observed)) if known else None,
            "backup": backup_status(resource, observed, outcome.before),
        }

    def news(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> Sequence[News]:
        """See `okitoki.tenant.measures`."""
        return news(before, after)

    def measures(self, resource: Tenant, observed: Observed) -> Measures:
        """See `okitoki.tenant.measures`."""
        return measures(resource, observed)

    def recheck_seconds(self, resource: Tenant, observed: Observed, outcome: Outcome) -> float | None:
        """Soon while not ready, or while the app's pods take up another certificate, of which no event tells."""
        found = self.conditions(resource, observed, outcome)
        current = next(condition.status == "True" for condition in found if condition.type == CERTIFICATE_CURRENT)
        return None if current and summary(found).status == "True" else RECHECK_SECONDS

    async def finalize(self, ctx: Context, raw: Manifest) -> str | None:
        """See `okitoki.tenant.finalize`."""
        return await finalize(ctx, raw, OWN_KINDS)

    def concerned_by(self, changed: Manifest, index: Index) -> Sequence[str]:
        """A region's tenants, and tenants that share a number with a changed tenant."""
        name = changed["metadata"]["name"]
        if changed["kind"] == kinds.VOICE_REGION.kind:
            return [key for key, item in index.tenants.items() if name in (item["spec"].get("regions") or [])]
        return [key for key in index.sharing_numbers(changed) if key != name]

    def _app(self, ctx: Context) -> AppApi:
        trusted = ctx.authorities.latest.bundle
        if self._app_api is None or self._app_api[0] != trusted:
            self._app_api = (trusted, self._make_app_api(trusted))
        return self._app_api[1]
