"""Settings: users and tokens, alerts, join codes, groups, the audit log."""

from aggregator.page.settings.routes import settings_routes

__all__ = ["settings_routes"]
