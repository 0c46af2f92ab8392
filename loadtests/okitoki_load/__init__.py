"""Load, its ledger, and the verdict on what was acknowledged."""
