"""SQL of the app. Each function is an operation for `Database.run`: idempotent, one statement or one transaction.

**Every write writes WAL, also when it finds its work done.** A primary that is killed and restarted in place, or whose
commit's wait was cancelled, shows rows that no standby has. A repeated request that merely looked and found its row
would acknowledge something a failover can still lose. A transaction that writes anything waits at its commit until a
standby has all WAL up to there (SyncRepWaitForLSN waits for a position, not for a transaction), the earlier row
included. So call records are inserted with `on conflict do update` instead of `do nothing`, and changes of the
configuration go through `change()`.
"""
