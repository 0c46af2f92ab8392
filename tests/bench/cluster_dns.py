"""The operator's own process in the bench: `python -m bench.cluster_dns` is `python -m okitoki` with the cluster's DNS.

Outside a cluster nobody knows `app.tenant-NAME.svc`; here all such names are the simulator (`BENCH_APPS_PORT`).
Nothing of the operator itself is replaced.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from okitoki.__main__ import main

_resolve = socket.getaddrinfo


def resolve(host: Any, port: Any, *rest: Any, **further: Any) -> Any:
    """`socket.getaddrinfo`, with the Services of the simulated cluster."""
    if isinstance(host, str) and host.endswith(".svc"):
        return _resolve("127.0.0.1", int(os.environ["BENCH_APPS_PORT"]), *rest, **further)
    return _resolve(host, port, *rest, **further)


if __name__ == "__main__":
    socket.getaddrinfo = resolve
    sys.exit(main())
