"""API keys, what each has spent, an index over the jobs of one, and submissions that may be sent again."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("revoked_at", sa.Float(53)),
        sa.Column("rate", sa.Text),
        sa.Column("daily_gpu_s", sa.Float(53)),
    )
    op.create_table(
        "spending",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("gpu_s", sa.Float(53), nullable=False),
    )
    op.create_table(
        "submissions",
        sa.Column("token", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("job_id", sa.Text),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
    )
    op.create_index("submissions_key", "submissions", ["owner", "key"], unique=True)
    op.create_index("submissions_fingerprint", "submissions", ["owner", "fingerprint", "at"])
    op.create_index("submissions_expiry", "submissions", ["expires_at"])
    op.create_index("jobs_owner", "jobs", ["owner", "seq"])


def downgrade() -> None:
    op.drop_index("jobs_owner", "jobs")
    op.drop_table("submissions")
    op.drop_table("spending")
    op.drop_table("api_keys")
