"""`helm test`: the definitions are established, and a replica of the operator holds the Lease and renews it."""

import json
import os
import ssl
import sys
import time
import urllib.request
from datetime import UTC, datetime

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
DEFINITIONS = ("tenants.platform.oki-toki.net", "voiceregions.platform.oki-toki.net")
PATIENCE_SECONDS = 60
FRESH_SECONDS = 15


def get(path: str) -> dict:
    """One object from the API server, with the operator's own rights."""
    with open(f"{ACCOUNT}/token") as file:
        headers = {"Authorization": f"Bearer {file.read()}"}
    request = urllib.request.Request("https://kubernetes.default.svc" + path, headers=headers)
    trust = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
    with urllib.request.urlopen(request, context=trust, timeout=10) as answer:  # noqa: S310 - the scheme is above
        return json.load(answer)


def problem() -> str:
    """What is not as it should be; empty when all is well."""
    for name in DEFINITIONS:
        found = get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
        conditions = {item["type"]: item["status"] for item in found["status"]["conditions"]}
        if conditions.get("Established") != "True":
            return f"the definition {name} is not established"
    namespace = os.environ["POD_NAMESPACE"]
    lease = get(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{os.environ['LEASE']}")["spec"]
    if not lease.get("holderIdentity"):
        return "no replica leads"
    renewed = datetime.fromisoformat(lease["renewTime"].replace("Z", "+00:00"))
    age = (datetime.now(UTC) - renewed).total_seconds()
    return "" if age < FRESH_SECONDS else f"the leader renewed its lease {age:.0f} s ago: it is gone or hangs"


deadline = time.monotonic() + PATIENCE_SECONDS
while True:
    try:
        found = problem()
    except (OSError, KeyError) as error:
        found = f"{type(error).__name__}: {error}"
    if not found:
        print("the operator leads and the definitions are established")
        sys.exit(0)
    if time.monotonic() > deadline:
        sys.exit(found)
    time.sleep(2)
