"""Whether the service has taken the operators' access away (`spec.state: Restricted`).

A column with a constant default: added without a rewrite of the table. The previous version of the app goes on beside
it and leaves the default.
"""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column."""
    op.execute("alter table tenant add column restricted boolean not null default false")


def downgrade() -> None:
    """Data are not thrown away by a rollback: the version before ignores the column."""
