"""What a run ends with where something is not as it should be."""

from __future__ import annotations


class Shortfall(Exception):
    """Something was lost, done twice or half, or did not come to rest in time."""
