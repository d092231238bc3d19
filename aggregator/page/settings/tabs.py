"""The places below Settings."""

from __future__ import annotations

PLACE = "settings"
ACCESS, ALERTS, JOINING = "/settings", "/settings/alerts", "/settings/join"
GROUPS, AUDIT = "/settings/groups", "/settings/audit"
TABS = (
    (ACCESS, "Access"), (ALERTS, "Alerts"), (JOINING, "Join codes"), (GROUPS, "Groups"), (AUDIT, "Audit log"),
)  # fmt: skip
