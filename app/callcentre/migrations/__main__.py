"""`python -m callcentre.migrations`: bring the database that libpq's environment (PGHOST, …) names to the newest
revision.

Runs in a process of its own so that the app can kill it when its server freezes, and so that Alembic's memory is given
back. One at a time by an advisory lock; it goes with the session, so a killed run leaves none.
"""

from __future__ import annotations

import sys

import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy import pool

from callcentre.migrations import VERSIONS

LOCK = 0x6F6B69746F6B69  # "okitoki"


def configuration() -> Config:
    """Alembic's configuration without an ini file; the connection comes by attribute."""
    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    return config


def main() -> int:
    """Upgrade under the lock. Errors end the process with a traceback; libpq never prints passwords."""
    engine = sqlalchemy.create_engine("postgresql+psycopg://", poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("select pg_advisory_lock(:key)"), {"key": LOCK})
        connection.commit()
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
