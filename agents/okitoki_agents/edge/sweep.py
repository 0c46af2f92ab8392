"""Removes what a region may have left on a node whose edge pod is gone for good (the region is being deleted).

Addresses and the nft table go by themselves within seconds, however a pod ends; this makes sure, and undoes the
sysctls.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from okitoki_agents.edge import hostsetup, network
from okitoki_agents.edge.facts import FactsError, parse_region
from okitoki_agents.edge.tunnel import device


def sweep(region_file: Path, keep_sysctls: bool) -> None:
    """`keep_sysctls`: another region uses the node. Safe to repeat. Raises FactsError, HostSetupError."""
    try:
        region = parse_region(json.loads(region_file.read_text()))
    except (OSError, ValueError) as error:
        raise FactsError(f"{region_file}: {error}") from error
    network.remove(address.ip for address in region.addresses)
    device.remove(region.tunnel.interface, region.tunnel.table)
    # It fails when there is no such table, which is the rule.
    subprocess.run(
        ["nft", "delete", "table", "ip", f"okitoki-{region.name}"], check=False, capture_output=True, timeout=10
    )
    if not keep_sysctls:
        hostsetup.undo()
