"""Simulated carrier, agents and callers: real SIP and RTP over UDP."""
