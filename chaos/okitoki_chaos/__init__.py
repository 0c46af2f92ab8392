"""Faults, and the proof that each took effect."""
