"""What a kind of resource (Tenant, VoiceRegion) implements, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from okitoki.kube.apply import Applied, Live
from okitoki.kube.authority import Authorities
from okitoki.kube.client import Client
from okitoki.kube.events import Recorder
from okitoki.kube.metadata_cache import MetadataCache
from okitoki.kube.resources import Manifest, ResourceType
from okitoki.metrics.domain import Measures, Series
from okitoki.reconcile.conditions import Condition
from okitoki.reconcile.index import Index


@dataclass(frozen=True, slots=True)
class Images:
    """Container images of what the operator deploys (environment `OKITOKI_IMAGE_APP`, `…_POSTGRES`, `…_EDGE`)."""

    app: str
    postgres: str
    edge: str


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Context:
    """What the steps `observe`, `prepare`, `act` and `finalize` may use; builders and conditions do not get it."""

    client: Client
    index: Index
    images: Images
    namespace: str
    """The operator's own namespace."""
    authorities: Authorities
    """What signs, and what is trusted (`okitoki.reconcile.authority` keeps them)."""
    events: Recorder
    series: Series = field(default_factory=Series)
    """Metrics of the platform."""
    cache: MetadataCache = field(default_factory=MetadataCache)
    """What the controller's watches tell of owned objects."""
    now: Callable[[], datetime] = _utc_now


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a resource's objects live: read before each reconcile, and the only place where objects are pruned.

    `namespace` None: cluster-scoped objects of `names` (so far only the namespace itself).
    `names` given: those objects of `kinds` there; else all of them, or those that `selector` selects.
    """

    namespace: str | None
    kinds: tuple[ResourceType, ...]
    selector: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()


class InvalidResource(Exception):
    """The resource got past the CRD's rules (an older object) and cannot be acted on; says the field and the mend."""

    def __init__(self, field_path: str, message: str) -> None:
        super().__init__(f"{field_path}: {message}")
        self.field_path = field_path


@dataclass(frozen=True, slots=True)
class Action:
    """One imperative step that no object expresses (a switchover, a call to the app): its name, why, and its data."""

    name: str
    reason: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What this reconcile did so far; `acted` maps an action's name to None when done, or to what went wrong.
    `before` is the status that the resource had."""

    applied: Applied = field(default_factory=Applied)
    acted: dict[str, str | None] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class News:
    """Something that happened between two statuses and that a person wants to know: an Event, and a counter (name of a
    metric of the kind) when it is counted."""

    reason: str
    message: str
    warning: bool = False
    counter: str = ""


R = TypeVar("R")
"""The parsed resource: a pydantic model with `metadata` and `spec`."""
O = TypeVar("O")  # noqa: E741
"""What was observed: a frozen dataclass of the kind's own."""


class Kind(Protocol, Generic[R, O]):
    """One kind of resource. The loop calls, in this order and always all of it (create, update, drift, timer alike):

    1.  `parse(raw)`
    2.  `scopes(resource, index)`: what the loop lists into `live`
    3.  `observe(ctx, resource, live)`: further reads
    4.  `prepare(ctx, resource, observed)`: random values and certificates for what is missing; writes nothing
    5.  `build(resource, observed)`: the wanted objects in order (pure); applied server-side, written only when they
        differ; what carries the owner's labels in `scopes` and is not in the list is removed
    6.  `decide(resource, observed)`: actions (pure), each then given to `act(ctx, resource, observed, action)`
    7.  `conditions(resource, observed, outcome)` and `status(resource, observed, outcome)` (pure). `observed` is from
        before the writes; what they change comes back as watch events and a new reconcile

    Deletion: `finalize(ctx, raw)` is called until it returns None, then the finalizer is removed.
    A step may raise: the reconcile is tried again with back-off, and other resources are not delayed.
    """

    resource: ResourceType
    owner_label: str
    """The label that carries the resource's name on what it owns (`labels.TENANT` or `labels.REGION`)."""
    watched: Sequence[ResourceType]
    """Kinds of owned objects whose changes trigger a reconcile (those that carry our label)."""
    only_applied: Sequence[ResourceType]
    """Those of them of which no step reads anything: they are read only to be compared, and not while unchanged."""

    def parse(self, raw: Manifest) -> R:
        """The model of a raw object; raises `InvalidResource`."""
        ...

    def scopes(self, resource: R, index: Index) -> Sequence[Scope]:
        """Where its objects live. Pure."""
        ...

    async def observe(self, ctx: Context, resource: R, live: Live) -> O:
        """Everything the later steps need to know; reads only."""
        ...

    async def prepare(self, ctx: Context, resource: R, observed: O) -> O:
        """`observed` with generated secrets and certificates filled in where they are missing; writes nothing."""
        ...

    def build(self, resource: R, observed: O) -> Sequence[Manifest]:
        """The wanted objects in order. Pure. An empty list leaves everything as it is only if nothing is prunable."""
        ...

    def may_prune(self, resource: R, observed: O) -> bool:
        """Whether objects that are not wanted may be removed now. Pure; False while `build` could not know all."""
        ...

    def decide(self, resource: R, observed: O) -> Sequence[Action]:
        """Actions to take now, in order. Pure."""
        ...

    async def act(self, ctx: Context, resource: R, observed: O, action: Action) -> str | None:
        """Do one action: None when done, else what went wrong in words for a condition. Idempotent."""
        ...

    def conditions(self, resource: R, observed: O, outcome: Outcome) -> Sequence[Condition]:
        """Conditions, causes before effects, without `Ready` and `Applied` (the loop adds them). Pure."""
        ...

    def status(self, resource: R, observed: O, outcome: Outcome) -> Mapping[str, Any]:
        """The status besides `conditions` and `observedGeneration`. Pure; nothing that changes at rest."""
        ...

    def news(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> Sequence[News]:
        """What happened between two statuses, besides conditions, which tell their own. Pure.

        The status is the memory: each change is told once, also across restarts of the operator."""
        ...

    def measures(self, resource: R, observed: O) -> Measures:
        """Metrics of the resource besides `ready` and `stalled` (`okitoki.metrics.domain`). Pure."""
        ...

    def recheck_seconds(self, resource: R, observed: O, outcome: Outcome) -> float | None:
        """When to look again although no watch event comes (something outside the API is awaited); None: never."""
        ...

    async def finalize(self, ctx: Context, raw: Manifest) -> str | None:
        """Remove what the resource owns; what is still awaited in words, or None once all is gone. Idempotent."""
        ...

    def concerned_by(self, changed: Manifest, index: Index) -> Sequence[str]:
        """Names of resources of this kind to reconcile because a Tenant or VoiceRegion changed (never itself)."""
        ...
