"""How fast the cards of a class run a model."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "calibrations",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("card", sa.Text, primary_key=True),
        sa.Column("record", sa.JSON, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("calibrated_at", sa.Float(53)),
        sa.Column("updated_at", sa.Float(53), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("calibrations")
