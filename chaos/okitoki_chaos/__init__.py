"""Faults, and the proof that they bit."""
