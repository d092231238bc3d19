"""Schema 3: where in the device's history its newest update lies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Add the column `history`."""
    op.add_column("sequences", sa.Column("history", sa.Text, nullable=False, server_default=""))
