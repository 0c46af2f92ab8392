"""The edge agent: brings routes, back ends and certificates to a node of a region and takes call records away.

One asyncio process beside the voice servers. It is on no call's path: what it brings lies on disk under
`/var/lib/edge`, and whatever it cannot reach (API server, app, peer) leaves the last good state in force.
"""
