"""Which submissions are known though they have gone with their chain, by their ids: a mark that an upstream shows may be of one.

Revision: 0013
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index("spent_by_submission", "spent", ["submission_id"])
