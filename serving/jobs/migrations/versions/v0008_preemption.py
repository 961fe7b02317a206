"""Which job's card a job was given between two steps, and how long that job was put off.

Of jobs before it nobody knows any such thing: none did it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("preempts", sa.Text))
    op.add_column("jobs", sa.Column("preempted_s", sa.Float(53), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("jobs", "preempted_s")
    op.drop_column("jobs", "preempts")
