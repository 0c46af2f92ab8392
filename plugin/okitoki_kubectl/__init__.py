"""`kubectl okitoki`: the state of the platform at a glance, and a planned change of a database's primary.

It has no right but its user's: everything goes through `kubectl`. Standard library only.
"""
