"""One pure function per condition of a Tenant."""

from __future__ import annotations

from okitoki.api.tenant import Tenant, storage_bytes
from okitoki.kube import names
from okitoki.reconcile.certificate import certificate_current
from okitoki.reconcile.conditions import Condition, failing, good, progressing, resting, unknown
from okitoki.reconcile.kind import Outcome
from okitoki.reconcile.ownership import namespace_owned
from okitoki.tenant.decide import CONFIGURE_DATABASE, PROVISION, rebuild
from okitoki.tenant.facts import (
    Observed,
    accepted_numbers,
    landlines,
    same_profile,
    wanted_profile,
    without_landline,
)
from okitoki.tenant.hibernation import hibernated
from okitoki.tenant.layers import layers
from okitoki.tenant.retention import retention


def conditions(tenant: Tenant, observed: Observed, outcome: Outcome) -> list[Condition]:
    """All of them, causes before effects."""
    owned = retention(tenant, observed) or namespace_owned(
        observed.namespace, names.tenant_namespace(tenant.metadata.name), "tenant"
    )
    certificate = certificate_current(
        observed.settings.authorities, observed.secrets.tls, observed.use, tenant.metadata.annotations, observed.now
    )
    if tenant.spec.state == "Paused":
        return [*paused(tenant, observed, outcome, owned), certificate]
    return [
        owned,
        *withheld(tenant, observed),
        database_ready(tenant, observed, outcome),
        app_ready(tenant, observed),
        numbers_provisioned(tenant, observed, outcome),
        routes_published(tenant, observed),
        *layers(tenant, observed),
        certificate,
    ]


def paused(tenant: Tenant, observed: Observed, outcome: Outcome, owned: Condition) -> list[Condition]:
    """Nothing is said of app and database, which shall not run, but that something stands in the way of their rest."""
    found = [owned, hibernated(tenant, observed)]
    if observed.passwords_lost:
        found.append(database_ready(tenant, observed, outcome))
    if observed.claimed:
        found.append(numbers_provisioned(tenant, observed, outcome))
    return [*found, routes_published(tenant, observed)]


def withheld(tenant: Tenant, observed: Observed) -> list[Condition]:
    """What of the service is withheld on purpose."""
    if tenant.spec.state == "Suspended":
        return [suspended()]
    return [restricted(tenant, observed)] if tenant.spec.state == "Restricted" else []


def restricted(tenant: Tenant, observed: Observed) -> Condition:
    """Everything is in order, callers are served and operators are not."""
    with_landline, lost = landlines(tenant, observed), without_landline(tenant, observed)
    went = [f"to landlines ({len(with_landline)} of their numbers)"] if with_landline else []
    went += [f"nowhere but to 480 for {', '.join(lost)}: set spec.backup.landlines"] if lost else []
    text = (
        "spec.state is Restricted: operators' phones and logins are refused with 403, calls that are under way go on, "
        f"incoming calls go {' and '.join(went) or 'nowhere, there is no number'}; the API serves; set it to Active to "
        "let operators in again"
    )
    return resting("Restricted", "Restricted", text)


def suspended() -> Condition:
    """Everything is in order and nobody is served."""
    text = (
        "spec.state is Suspended: incoming calls are answered with 480, phones and API requests with 403; calls that "
        "are under way go on; set it to Active to serve the tenant again"
    )
    return resting("Suspended", "Suspended", text)


def database_ready(tenant: Tenant, observed: Observed, outcome: Outcome) -> Condition:
    """Whether all members of the database are in order: a primary, and standbys that stream."""
    kind, state, wanted = "DatabaseReady", observed.database, tenant.spec.database.instances
    if observed.passwords_lost:
        return failing(
            kind,
            "CredentialsLost",
            f"Secret {names.POSTGRES_CREDENTIALS} is gone or lacks keys, but the database was made with its passwords: "
            "restore the Secret; what runs goes on, nothing is changed until then",
        )
    size = tenant.spec.database.storage.size
    small = any(found < storage_bytes(size) for found in observed.volumes.sizes.values())
    if small and not observed.volumes.expandable:
        return failing(
            kind,
            "StorageNotExpandable",
            f"spec.database.storage.size is {size} and the volumes are smaller, but their storage class cannot grow "
            "volumes (allowVolumeExpansion): set the size back, or move the tenant to another class",
        )
    problems = [f"{member.name}: {member.problem}" for member in state.members if member.problem]
    if lost := rebuild(tenant, observed).reason:
        problems.append(lost)
    detail = f" ({'; '.join(problems)})" if problems else ""
    counted = f"{state.in_order} of {wanted} members in order"
    if state.primary is None:
        if observed.dynamic_configuration is None:
            return progressing(kind, "Creating", f"the database is being made{detail}")
        if observed.stop_announced:
            return progressing(kind, "Waking", f"the database wakes, {counted}{detail}")
        return failing(kind, "NoPrimary", f"no member takes writes now, {counted}{detail}")
    if state.in_order < wanted or len(state.members) != wanted:
        text = f"primary {state.primary.name}, {counted}{detail}"
        # While it is made the standbys are still copying; a member lost later is a failure.
        return progressing(kind, "MembersMissing", text)
    if not state.voters:
        return progressing(kind, "NotSynchronous", f"primary {state.primary.name} has no synchronous standby yet")
    if error := outcome.acted.get(CONFIGURE_DATABASE):
        return failing(kind, "ConfigurationRefused", f"Patroni did not take its settings: {error}")
    return good(kind, "InOrder", f"primary {state.primary.name}, {counted}, commits wait for a standby (quorum)")


def app_ready(tenant: Tenant, observed: Observed) -> Condition:
    """Whether all pods of the app serve."""
    kind, state, wanted = "AppReady", observed.app, tenant.spec.app.replicas
    detail = f" ({state.problem})" if state.problem else ""
    if state.ready == 0:
        return progressing(kind, "NoPodReady", f"no pod of the app is ready{detail}")
    if state.ready < wanted:
        return progressing(kind, "PodsMissing", f"{state.ready} of {wanted} pods of the app are ready{detail}")
    if state.updated < wanted:
        return progressing(kind, "Updating", f"{state.updated} of {wanted} pods of the app are up to date{detail}")
    return good(kind, "PodsReady", f"{wanted} of {wanted} pods of the app are ready")


def numbers_provisioned(tenant: Tenant, observed: Observed, outcome: Outcome) -> Condition:
    """Whether the app knows the tenant's numbers, and they are the tenant's."""
    kind = "NumbersProvisioned"
    if observed.claimed:
        claims = ", ".join(f"{number} is tenant {owner}'s" for number, owner in sorted(observed.claimed.items()))
        return failing(
            kind,
            "NumberClaimed",
            f"{claims}: a number has one tenant, the older keeps it; remove it from one of both",
        )
    if outcome.acted.get(PROVISION):
        return failing(kind, "Refused", f"the app did not take the numbers: {outcome.acted[PROVISION]}")
    if observed.profile_error:
        return unknown(kind, "AppUnreachable", f"the app cannot be asked: {observed.profile_error}")
    if observed.profile is None:
        return progressing(kind, "WaitingForApp", "the numbers are given to the app as soon as a pod of it is ready")
    done = PROVISION in outcome.acted or same_profile(observed.profile, wanted_profile(tenant, observed))
    if not done:
        return progressing(kind, "Provisioning", "the numbers are being given to the app")
    count = len(accepted_numbers(tenant, observed))
    return good(kind, "Provisioned", f"the app has the tenant's {count} number{'' if count == 1 else 's'}")


def routes_published(tenant: Tenant, observed: Observed) -> Condition:
    """Whether each region's edge was told about the tenant."""
    kind = "RoutesPublished"
    missing = [region.name for region in observed.regions if not region.exists]
    if missing:
        return failing(
            kind,
            "RegionMissing",
            f"spec.regions names {', '.join(missing)}, but there is no such VoiceRegion: create it or mend the name",
        )
    waiting = [region.name for region in observed.regions if region.name not in observed.published]
    if waiting:
        return progressing(kind, "Publishing", f"waiting to tell the edge of {', '.join(waiting)}")
    return good(kind, "Published", f"the edge of {', '.join(tenant.spec.regions)} knows the tenant")
