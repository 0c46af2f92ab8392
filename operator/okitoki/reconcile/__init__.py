"""The level-based reconcile loop that every kind goes through: observe, build, apply, decide, act, report.

A kind implements `okitoki.reconcile.kind.Kind`; its docstring is the protocol.
"""
