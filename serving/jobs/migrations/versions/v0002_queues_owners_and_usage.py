"""Queues, owners, deadlines and ranks in seconds for jobs; what each pool served to whom.

A job of the first schema does not say which pools can hold it: its queue names none, and any pool of its model may take
it, as any could before. Its rank is what it would be had it been accepted by the new rule at the moment it was.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# The constants of the rule when this was written: `scheduling.queueing` may change, and old ranks need not follow.
PATIENCE, BATCH_DELAY_S = 4.0, 1800.0


def upgrade() -> None:
    op.drop_index("jobs_line", "jobs")
    op.alter_column("jobs", "rank", new_column_name="class")
    for column in (
        sa.Column("owner", sa.Text, nullable=False, server_default=""),
        sa.Column("priority", sa.Text, nullable=False, server_default="interactive"),
        sa.Column("deadline", sa.Float(53)),
        sa.Column("queue", sa.Text, nullable=False, server_default="/interactive"),
        sa.Column("estimates", sa.JSON, nullable=False, server_default="{}"),
        sa.Column("ranked_at", sa.Float(53), nullable=False, server_default="0"),
        sa.Column("rank", sa.Float(53), nullable=False, server_default="0"),
        sa.Column("pool", sa.Text),
    ):
        op.add_column("jobs", column)
    jobs = sa.table("jobs", *(sa.column(name) for name in ("class", "priority", "queue", "ranked_at", "rank")))
    jobs.append_column(sa.column("created_at", sa.Float))
    jobs.append_column(sa.column("estimate_s", sa.Float))
    batch = jobs.c["class"] == 1
    op.execute(
        jobs.update().values(
            priority=sa.case((batch, "batch"), else_="interactive"),
            queue=sa.case((batch, "/batch"), else_="/interactive"),
            ranked_at=jobs.c.created_at,
            rank=jobs.c.created_at + PATIENCE * jobs.c.estimate_s + sa.case((batch, BATCH_DELAY_S), else_=0.0),
        )
    )
    op.drop_column("jobs", "class")
    line = ["status", "model", "queue", "owner", "rank", "seq", "estimate_s"]
    op.create_index("jobs_line", "jobs", line)
    op.create_index("jobs_picture", "jobs", ["picture_key"])
    op.create_table(
        "usage",
        sa.Column("pool", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("priority", sa.Text, primary_key=True),
        sa.Column("timed", sa.Boolean, primary_key=True),
        sa.Column("gpu_s", sa.Float(53), nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("usage")
    op.drop_index("jobs_picture", "jobs")
    op.drop_index("jobs_line", "jobs")
    op.add_column("jobs", sa.Column("class", sa.Integer, nullable=False, server_default="0"))
    jobs = sa.table("jobs", sa.column("class"), sa.column("priority"))
    op.execute(jobs.update().where(jobs.c.priority == "batch").values({"class": 1}))
    for name in ("owner", "priority", "deadline", "queue", "estimates", "ranked_at", "rank", "pool"):
        op.drop_column("jobs", name)
    op.alter_column("jobs", "class", new_column_name="rank")
    op.create_index("jobs_line", "jobs", ["status", "model", "rank", "seq", "estimate_s"])
