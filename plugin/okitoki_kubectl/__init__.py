"""`kubectl okitoki`: the state of the platform at a glance, and what a person plans: another primary, a node of the
edge to be serviced, a tenant that sleeps and wakes.

It has no right but its user's: everything goes through `kubectl`. Standard library only.
"""
