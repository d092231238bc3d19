"""Schema 4: of each report its samples and added classes, so that starting need not read it.

PostgreSQL also gets names that sort by code point, as everywhere else, and row numbers that do not run out.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"

NAMES = {
    "numbers": ("name",), "devices": ("device",), "statistics": ("device", "space"), "told": ("device",),
    "sequences": ("device",), "updates": ("device", "space"), "parts": ("device", "sha256"),
    "heads": ("method", "space"), "events": ("device", "name"), "refusals": ("device", "reason"),
    "deliveries": ("device", "sha256", "name", "version", "space"), "removal_requests": ("device",),
    "clearings": ("topic",), "removed_epochs": ("device",),
}  # fmt: skip
SUMMARY = ["space", "device", "epoch", "counter", "samples", "added"]


def upgrade() -> None:
    """Add the columns; samples -1: not known before the report is read."""
    op.add_column("statistics", sa.Column("samples", sa.BigInteger, nullable=False, server_default="-1"))
    op.add_column("statistics", sa.Column("added", sa.Text, nullable=False, server_default=""))
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        op.create_index("ix_statistics_summaries", "statistics", SUMMARY)
    if connection.dialect.name != "postgresql":
        return
    present = set(sa.inspect(connection).get_table_names())
    for table, columns in NAMES.items():
        for column in columns if table in present else ():
            op.alter_column(table, column, type_=sa.Text(collation="C"))
    for table in {"parts", "events"} & present:
        op.alter_column(table, "id", type_=sa.BigInteger())
