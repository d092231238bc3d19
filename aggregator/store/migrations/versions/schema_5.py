"""Schema 5: of each report its samples of every class, not only of those that devices added.

What stands there is of added classes until the sums are made anew, as is done once: earlier ones have another format.
"""

from __future__ import annotations

from alembic import op

revision = "5"
down_revision = "4"


def upgrade() -> None:
    """Rename the column; the index that has it follows. Not through Alembic, which on SQLite would copy the table."""
    op.execute("ALTER TABLE statistics RENAME COLUMN added TO counts")
