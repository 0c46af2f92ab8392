"""The encrypted tunnel (WireGuard) between the two edge nodes: Redis and rtpengine's commands go through it."""
