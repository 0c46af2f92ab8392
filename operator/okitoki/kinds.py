"""Every kind of resource that the operator reconciles."""

from __future__ import annotations

from typing import Any

from okitoki.reconcile.kind import Kind
from okitoki.tenant.kind import TenantKind
from okitoki.voiceregion.kind import VoiceRegionKind


def all_kinds() -> list[Kind[Any, Any]]:
    """Regions first: tenants stand on them."""
    return [VoiceRegionKind(), TenantKind()]
