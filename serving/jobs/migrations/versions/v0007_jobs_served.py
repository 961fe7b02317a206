"""How many jobs the seconds were that an owner was served lately.

Nothing is known of those before: they count for nothing from here on, as they would in some hours anyway.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("usage", sa.Column("jobs", sa.Float(53), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("usage", "jobs")
