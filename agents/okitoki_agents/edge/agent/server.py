"""HTTP of the agent on the node's address: probes of the kubelet, the peer's look at this node, metrics. Nothing
secret."""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

HELP = {
    "okitoki_edge_ready": "1 if this node could take all addresses of the region now.",
    "okitoki_edge_protected": "1 if the loss of one node would cost no call.",
    "okitoki_edge_holds": "1 if this node holds the address.",
    "okitoki_edge_service_ok": "1 if the service is good.",
    "okitoki_edge_sessions": "Calls in a media engine.",
    "okitoki_edge_tenant_routes_good": "1 if the tenant's app gives its routes now.",
    "okitoki_edge_call_records": "Call records in this node's Redis.",
    "okitoki_edge_call_records_total": "What became of call records since the agent's start.",
    "okitoki_edge_tenant_landlines": "1 while the tenant's calls go to landlines, 0 once they go to agents again.",
    "okitoki_edge_trunk_answers": "1 if the carrier's host answers OPTIONS, 0 if it is silent or refuses.",
    "okitoki_edge_trunk_answer_seconds": "How long its last answer took.",
    "okitoki_edge_sip_certificate_good": "1 if Kamailio has loaded the newest certificate for SIP over TLS.",
    "okitoki_edge_haproxy_reloads_total": "Reloads of HAProxy since the agent's start.",
}
Sample = tuple[str, Mapping[str, str], float]
"""Metric name, labels, value."""


def metrics_text(samples: list[Sample]) -> str:
    """The Prometheus text format 0.0.4. Label values are names of this platform and hold nothing to escape."""
    lines = []
    told: set[str] = set()
    for name, labels, value in sorted(samples, key=lambda sample: sample[0]):
        if name not in told:
            told.add(name)
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} {kind}"]
        inner = ",".join(f'{key}="{text}"' for key, text in sorted(labels.items()))
        lines.append(f"{name}{{{inner}}} {value:g}" if inner else f"{name} {value:g}")
    return "\n".join(lines) + "\n"


def application(
    unready: Callable[[], list[str]], node: Callable[[], dict[str, Any]], samples: Callable[[], list[Sample]]
) -> web.Application:
    """`/healthz`, `/readyz` (200 or 503, reasons in the body), `/node` (for the peer), `/metrics`."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def readyz(_: web.Request) -> web.Response:
        reasons = unready()
        return web.json_response({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    async def get_node(_: web.Request) -> web.Response:
        return web.json_response(node())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=metrics_text(samples()), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/node", get_node),
            web.get("/metrics", metrics),
        ]
    )
    return app


async def serve(app: web.Application, address: str, port: int) -> web.AppRunner:
    """Start serving; the caller cleans the runner up. Raises OSError."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port, reuse_address=True).start()
    return runner
