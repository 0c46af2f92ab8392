"""`make drill`: faults under load on the local cluster, each with a verdict."""
