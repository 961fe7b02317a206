"""Which other card's job a card helps with."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("assists", sa.Text))


def downgrade() -> None:
    op.drop_column("workers", "assists")
