"""Alembic migrations of the database `callcentre`.

A revision's id is the four digits its file name begins with; revisions form one line, in that order. So the app can
tell without loading Alembic whether a database is up to date (`expected_revision`, `known_revisions`), and runs
Alembic, in a process of its own, only when it is not.

A migration must leave the running app's previous version working (add first, remove one release later): during a
rollout, and after a rollback, both versions use the same tables.
"""

from __future__ import annotations

from pathlib import Path

VERSIONS = Path(__file__).parent / "versions"


def known_revisions() -> list[str]:
    """The revisions this version of the app brings, oldest first."""
    return sorted(path.name[:4] for path in VERSIONS.glob("[0-9][0-9][0-9][0-9]_*.py"))


def expected_revision() -> str:
    """The newest one."""
    return known_revisions()[-1]
