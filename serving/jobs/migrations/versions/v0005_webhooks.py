"""Where a job's end is told, and the events on their way there."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("webhook_url", sa.Text))
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Float(53)),
        sa.Column("ended_at", sa.Float(53)),
        sa.Column("error", sa.Text),
    )
    op.create_index("webhooks_due", "webhooks", ["next_at"])
    op.create_index("webhooks_ended", "webhooks", ["ended_at"])


def downgrade() -> None:
    op.drop_table("webhooks")
    op.drop_column("jobs", "webhook_url")
