"""Schema 1: the first that was released."""

from __future__ import annotations

revision = "1"
down_revision = None


def upgrade() -> None:
    """A database without a later one has it already."""
