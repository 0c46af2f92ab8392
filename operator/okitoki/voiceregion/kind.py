"""The VoiceRegion in the reconcile loop: which step is what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from okitoki.api.voiceregion import VoiceRegion
from okitoki.kube import labels, names
from okitoki.kube import resources as kinds
from okitoki.kube.apply import Live
from okitoki.kube.resources import Manifest, ResourceType
from okitoki.metrics.domain import Measures
from okitoki.reconcile.conditions import Condition, summary
from okitoki.reconcile.index import Index
from okitoki.reconcile.kind import Action, Context, InvalidResource, News, Outcome, Scope
from okitoki.reconcile.parse import parse
from okitoki.voiceregion import conditions as judged
from okitoki.voiceregion import secrets
from okitoki.voiceregion.allocation import NoSlotError
from okitoki.voiceregion.build import build
from okitoki.voiceregion.facts import Observed
from okitoki.voiceregion.finalize import finalize
from okitoki.voiceregion.measures import last_holders, measures, news
from okitoki.voiceregion.observe import observe
from okitoki.voiceregion.rollout import next_action
from okitoki.voiceregion.validity import invalid_because

RESTART = "RestartEdgePod"
DRAIN = "MarkDrainedPods"

RECHECK_UNREADY_SECONDS = 10.0
"""While not ready: nodes send no event here, and some of what is awaited is a matter of time."""
RECHECK_SECONDS = 300.0
"""Nodes change their addresses and labels, certificates age."""

OWN_KINDS = (
    kinds.SERVICE_ACCOUNT, kinds.ROLE, kinds.ROLE_BINDING, kinds.SECRET, kinds.CONFIG_MAP,
    kinds.POD_DISRUPTION_BUDGET, kinds.STATEFUL_SET,
)  # fmt: skip


class VoiceRegionKind:
    """See `okitoki.reconcile.kind.Kind`."""

    resource: ResourceType = kinds.VOICE_REGION
    owner_label = labels.REGION
    watched: Sequence[ResourceType] = (kinds.NAMESPACE, *OWN_KINDS, kinds.POD)
    only_applied: Sequence[ResourceType] = ()

    def parse(self, raw: Manifest) -> VoiceRegion:
        """Raises `InvalidResource`."""
        return parse(VoiceRegion, raw)

    def scopes(self, resource: VoiceRegion, index: Index) -> Sequence[Scope]:
        """The own namespace."""
        namespace = names.region_namespace(resource.metadata.name)
        # A region's tenants have a Secret each there, which are theirs.
        own = {labels.EDGE_TENANT: labels.ABSENT}
        return [Scope(None, (kinds.NAMESPACE,), names=(namespace,)), Scope(namespace, OWN_KINDS, own)]

    async def observe(self, ctx: Context, resource: VoiceRegion, live: Live) -> Observed:
        """Reads only."""
        try:
            return await observe(ctx, resource, live)
        except NoSlotError as error:
            raise InvalidResource("metadata.name", str(error)) from error

    async def prepare(self, ctx: Context, resource: VoiceRegion, observed: Observed) -> Observed:
        """Generates what is missing of secrets and certificates."""
        return secrets.fill(resource, observed, observed.authorities.current, ctx.now())

    def build(self, resource: VoiceRegion, observed: Observed) -> Sequence[Manifest]:
        """The wanted objects in order."""
        return build(resource, observed)

    def may_prune(self, resource: VoiceRegion, observed: Observed) -> bool:
        """Only in an own namespace, and not while the region cannot be built."""
        return observed.namespace == "ours" and invalid_because(resource, observed) is None

    def decide(self, resource: VoiceRegion, observed: Observed) -> Sequence[Action]:
        """Marks of drained pods (`drain.py`), and at most one restart of a pod (`rollout.py`)."""
        if observed.namespace != "ours" or not observed.workload.exists or invalid_because(resource, observed):
            return []
        found = []
        drain = judged.drain(resource, observed)
        if drain.mark or drain.unmark:
            marks: list[tuple[str, str, str | None]] = [(pod.name, pod.uid, None) for pod in drain.unmark]
            marks += [(drain.mark.name, drain.mark.uid, "true")] if drain.mark else []
            reason = drain.message or "no node of the region is serviced any more"
            found.append(Action(DRAIN, reason, {"marks": marks}))
        decision = next_action(observed.pods, observed.workload.revision)
        if decision.step == "restart" and decision.pod is not None:
            found.append(Action(RESTART, decision.reason, {"pod": decision.pod.name, "uid": decision.pod.uid}))
        return found

    async def act(self, ctx: Context, resource: VoiceRegion, observed: Observed, action: Action) -> str | None:
        """What was decided on, of the very pods and no others of their names."""
        namespace = names.region_namespace(resource.metadata.name)
        if action.name == DRAIN:
            for name, uid, value in action.data["marks"]:
                patch = {"metadata": {"uid": uid, "annotations": {labels.DRAIN: value}}}
                await ctx.client.merge_patch(kinds.POD, name, patch, namespace=namespace)
            return None
        await ctx.client.delete(kinds.POD, action.data["pod"], namespace, uid=action.data["uid"])
        return None

    def conditions(self, resource: VoiceRegion, observed: Observed, outcome: Outcome) -> Sequence[Condition]:
        """See `okitoki.voiceregion.conditions`."""
        return judged.conditions(resource, observed, outcome)

    def status(self, resource: VoiceRegion, observed: Observed, outcome: Outcome) -> Mapping[str, Any]:
        """The rest of the status."""
        status = judged.status(resource, observed)
        return {**status, "lastHolders": last_holders(outcome.before, observed)} if status else status

    def news(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> Sequence[News]:
        """See `okitoki.voiceregion.measures`."""
        return news(before, after)

    def measures(self, resource: VoiceRegion, observed: Observed) -> Measures:
        """See `okitoki.voiceregion.measures`."""
        return measures(observed)

    def recheck_seconds(self, resource: VoiceRegion, observed: Observed, outcome: Outcome) -> float | None:
        """Soon while not ready or while an address moves, now and then otherwise."""
        if settling := judged.settles_in(observed):
            return settling
        ready = summary(self.conditions(resource, observed, outcome)).status == "True"
        return RECHECK_SECONDS if ready else RECHECK_UNREADY_SECONDS

    async def finalize(self, ctx: Context, raw: Manifest) -> str | None:
        """See `okitoki.voiceregion.finalize`."""
        return await finalize(ctx, raw)

    def concerned_by(self, changed: Manifest, index: Index) -> Sequence[str]:
        """The regions of a tenant (they count theirs); every other region, when one changed: addresses may be free
        now."""
        if changed["kind"] == kinds.TENANT.kind:
            named = (changed.get("spec") or {}).get("regions") or []
            return [name for name in named if name in index.regions]
        return [name for name in index.regions if name != changed["metadata"]["name"]]
