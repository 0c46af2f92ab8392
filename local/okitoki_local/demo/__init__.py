"""The demo: the platform installed, real calls and writes, servers killed under them, and a verdict."""
