"""What waits for a person: windows to label, one at a time by keys, and everything else to decide."""

from aggregator.page.inbox.routes import inbox_routes

__all__ = ["inbox_routes"]
