"""Alembic's environment: migrate on the connection that `callcentre.migrations.__main__` made, in one transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
