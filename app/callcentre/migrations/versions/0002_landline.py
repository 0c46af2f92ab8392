"""Call records say which landline took a call when no agent could.

A column without default or check: added without a rewrite or a scan of the table. The previous version of the app goes
on beside it; it leaves the column empty.
"""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column."""
    op.execute("alter table call_records add column landline text")


def downgrade() -> None:
    """Data are not thrown away by a rollback: the version before ignores the column."""
