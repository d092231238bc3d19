"""Schema 2: which run of a device sent its newest update."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Add the column `life`."""
    op.add_column("sequences", sa.Column("life", sa.BigInteger, nullable=False, server_default="0"))
