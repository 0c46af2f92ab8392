#!/usr/bin/python3
"""Patroni's `post_init`: make the role `app` and the database `callcentre` that belongs to it.

Patroni calls it once, on the first primary of a new cluster, with a connection string as the only argument; the
superuser's password comes in the file that PGPASSFILE names (Patroni, `Bootstrap.call_post_bootstrap`). The app's
password comes in APP_PASSWORD. The server gets only its SCRAM verifier (RFC 5803), so that no log of any level can hold
the password.

Run again it changes nothing but the password. An error makes Patroni drop the new cluster and start over.
"""

import os
import sys

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import encrypt_password

ROLE = "app"
DATABASE = "callcentre"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: okitoki-post-init CONNECTION-STRING (Patroni's post_init passes it)")
    password = os.environ.get("APP_PASSWORD", "")
    if not password:
        sys.exit("okitoki-post-init: APP_PASSWORD is not set: give the container the key `app-password` of the Secret")
    connection = psycopg2.connect(sys.argv[1])
    connection.autocommit = True  # CREATE DATABASE cannot run in a transaction
    with connection.cursor() as cursor:
        verifier = encrypt_password(password, ROLE, scope=connection, algorithm="scram-sha-256")
        set_up_role(cursor, verifier)
        set_up_database(cursor)
    connection.close()
    print(f"okitoki-post-init: role {ROLE} and database {DATABASE} are there", flush=True)


def set_up_role(cursor: "psycopg2.extensions.cursor", verifier: str) -> None:
    """The app's role: may log in, owns its database, and nothing else."""
    cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (ROLE,))
    verb = "ALTER" if cursor.fetchone() is not None else "CREATE"
    # Not even the verifier belongs in a log.
    cursor.execute("SET log_statement = 'none'")
    cursor.execute("SET log_min_duration_statement = -1")
    cursor.execute("SET log_min_error_statement = 'panic'")
    attributes = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
    statement = sql.SQL(verb + " ROLE {} " + attributes + " PASSWORD {}")
    cursor.execute(statement.format(sql.Identifier(ROLE), sql.Literal(verifier)))


def set_up_database(cursor: "psycopg2.extensions.cursor") -> None:
    """The app's database, closed to every other role (by default any role may connect to any database)."""
    cursor.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
    if cursor.fetchone() is None:
        cursor.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} ENCODING 'UTF8' TEMPLATE template0").format(
                sql.Identifier(DATABASE), sql.Identifier(ROLE)
            )
        )
    cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(DATABASE)))


if __name__ == "__main__":
    main()
