"""PostgreSQL as seen by the app: all members known and probed, operations run on the primary, failovers hidden.

`members` and `resolver` say where the members are; `probe` asks them; `decisions` concludes (pure functions);
`cluster` holds the primary and `pool` the connections to it; `runner` is what the rest of the app uses; `schema` keeps
the tables right.
"""
