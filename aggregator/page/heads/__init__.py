"""Heads and bundles: what each version learned from whom, how it does, two beside each other, a device forgotten."""

from aggregator.page.heads.routes import heads_routes

__all__ = ["heads_routes"]
