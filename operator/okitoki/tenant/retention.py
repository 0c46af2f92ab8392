"""Whether a tenant may take over the data of an earlier one of its name. Pure (docs/decisions/0012)."""

from __future__ import annotations

from dataclasses import dataclass

from okitoki.api.tenant import Tenant, storage_bytes, storage_size
from okitoki.kube import names
from okitoki.reconcile.conditions import Condition, failing, progressing
from okitoki.tenant.facts import Observed, Retained

KIND = "NamespaceOwned"


@dataclass(frozen=True, slots=True)
class Adoption:
    """The answer, its stable reason, and the text for a person."""

    granted: bool
    reason: str
    message: str


def adoption(tenant: Tenant, retained: Retained) -> Adoption:
    """Only the uid of the very Tenant whose data are kept opens them, and only to a database that is no smaller."""
    namespace, database = names.tenant_namespace(tenant.metadata.name), tenant.spec.database
    fact = f"namespace {namespace} keeps the data of an earlier tenant of this name (uid {retained.owner}"
    fact += f", deleted {retained.since})" if retained.since else ")"
    if database.adopt is None:
        mend = (
            f"to go on with them set spec.database.adopt to {retained.owner}; to erase them and start empty run "
            f"`kubectl delete namespace {namespace}`; or create the tenant under another name"
        )
        return Adoption(False, "DataRetained", f"{fact} and nothing touches them: {mend}")
    if database.adopt != retained.owner:
        text = f"{fact}, spec.database.adopt names {database.adopt}: set it to the former, or remove it"
        return Adoption(False, "AdoptionRefused", text)
    if database.instances < len(retained.volumes):
        text = f"{fact} on {len(retained.volumes)} volumes: set spec.database.instances to that"
        return Adoption(False, "AdoptionRefused", text)
    largest = max(retained.volumes.values(), default=0)
    if storage_bytes(database.storage.size) < largest:
        text = f"{fact} on volumes of {storage_size(largest)}: set spec.database.storage.size to that or more"
        return Adoption(False, "AdoptionRefused", text)
    return Adoption(True, "Adopting", f"{fact}; they are being taken over")


def nothing_to_adopt(tenant: Tenant, observed: Observed) -> bool:
    """Data are asked for and there are none: an empty database in their place would look like their loss."""
    return observed.namespace == "absent" and tenant.spec.database.adopt is not None


def retention(tenant: Tenant, observed: Observed) -> Condition | None:
    """What retained data, or their absence, say about the namespace; None when there is nothing to say."""
    if observed.retained is not None:
        found = adoption(tenant, observed.retained)
        return (progressing if found.granted else failing)(KIND, found.reason, found.message)
    if nothing_to_adopt(tenant, observed):
        namespace = names.tenant_namespace(tenant.metadata.name)
        text = (
            f"spec.database.adopt names {tenant.spec.database.adopt}, but there is no namespace {namespace} with "
            "retained data: bring it back, or remove the field to start with an empty database"
        )
        return failing(KIND, "NothingToAdopt", text)
    return None
