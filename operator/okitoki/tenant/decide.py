"""What to do for a tenant that no object expresses. Pure."""

from __future__ import annotations

from okitoki.api.tenant import Tenant, storage_bytes
from okitoki.database.rebuild import Rebuild, as_action, decide_rebuild
from okitoki.database.spec import dynamic_configuration, needed_changes
from okitoki.database.switchover import decide_switchover
from okitoki.kube import labels
from okitoki.reconcile.kind import Action
from okitoki.tenant.build.common import database_cluster
from okitoki.tenant.facts import Observed, same_profile, wanted_profile
from okitoki.tenant.hibernation import running

PROVISION = "provision-numbers"
CONFIGURE_DATABASE = "configure-database"
GROW_VOLUMES = "grow-volumes"
REBUILD_MEMBER = "rebuild-member"
SWITCH_OVER = "switch-over"
ANNOUNCE_STOP = "announce-stop"


def decide(tenant: Tenant, observed: Observed) -> list[Action]:
    """Actions, in order; none without an own namespace."""
    if observed.namespace != "ours":
        return []
    return [
        action
        for action in (
            grow_volumes(tenant, observed),
            announce_stop(tenant, observed),
            configure(tenant, observed),
            rebuild_member(tenant, observed),
            switch_over(tenant, observed),
            provision(tenant, observed),
        )
        if action is not None
    ]


def grow_volumes(tenant: Tenant, observed: Observed) -> Action | None:
    """Volumes smaller than wanted grow, where their storage class can."""
    size = tenant.spec.database.storage.size
    small = sorted(name for name, found in observed.volumes.sizes.items() if found < storage_bytes(size))
    if not small or not observed.volumes.expandable:
        return None
    return Action(GROW_VOLUMES, f"{', '.join(small)} smaller than {size}", {"claims": small, "size": size})


def announce_stop(tenant: Tenant, observed: Observed) -> Action | None:
    """The members are told before all of them stop, and told otherwise once one of them leads again: until then there
    is nothing to hand over, and the word tells a database that wakes from one that has lost its primary."""
    found = running(tenant, observed)
    if found.announce:
        return Action(ANNOUNCE_STOP, found.waiting, {"stops": True})
    if observed.stop_announced and tenant.spec.state != "Paused" and observed.database.primary is not None:
        return Action(ANNOUNCE_STOP, "the database runs again", {"stops": False})
    return None


def configure(tenant: Tenant, observed: Observed) -> Action | None:
    """Patroni's dynamic configuration is read from a file only once; later changes go through its REST API."""
    if observed.dynamic_configuration is None or observed.database.primary is None:
        return None
    wanted = dynamic_configuration(database_cluster(tenant, observed))
    changes = needed_changes(wanted, dict(observed.dynamic_configuration))
    if not changes:
        return None
    data = {"address": observed.database.primary.address, "changes": changes}
    return Action(CONFIGURE_DATABASE, f"settings differ: {', '.join(sorted(changes))}", data)


def rebuild(tenant: Tenant, observed: Observed) -> Rebuild:
    """Whether a lost member is made anew, and why or why not."""
    database = tenant.spec.database
    return decide_rebuild(
        observed.database, observed.losses, database.instances, database.rebuild_after_seconds, observed.now
    )


def rebuild_member(tenant: Tenant, observed: Observed) -> Action | None:
    """A member whose node does not come back is made anew elsewhere."""
    if not running(tenant, observed).database:
        return None
    found = rebuild(tenant, observed)
    return Action(REBUILD_MEMBER, found.reason, as_action(found.member)) if found.member else None


def switch_over(tenant: Tenant, observed: Observed) -> Action | None:
    """A request for another primary is answered once; `address` is None when it is refused."""
    requested = tenant.metadata.annotations.get(labels.SWITCHOVER)
    if requested is None:
        return None
    if tenant.spec.state == "Paused":
        text = "spec.state is Paused, no member is to lead: ask again when the tenant is awake"
        return Action(SWITCH_OVER, text, {"requested": requested, "address": None, "to": None})
    found = decide_switchover(
        requested, observed.database, observed.losses, tenant.spec.database.instances, observed.now
    )
    address = found.primary.address if found.primary else None
    return Action(SWITCH_OVER, found.reason, {"requested": requested, "address": address, "to": found.to})


def provision(tenant: Tenant, observed: Observed) -> Action | None:
    """The app is told name and numbers when it says something else."""
    if observed.profile is None:
        return None
    wanted = wanted_profile(tenant, observed)
    if same_profile(observed.profile, wanted):
        return None
    return Action(PROVISION, "the app has other numbers or another name than the spec", wanted)
