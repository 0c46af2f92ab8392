"""The guard of an edge node: keeps addresses where their service is good, and on one node only."""
