"""Agents that run beside the servers they watch."""
