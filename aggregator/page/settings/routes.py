"""``/settings``: its places, one below the other in the tabs of each."""

from __future__ import annotations

from fastapi import FastAPI

from aggregator.page.frame import Frame
from aggregator.page.settings.access import access_routes
from aggregator.page.settings.alerts import alert_routes
from aggregator.page.settings.audit import audit_routes
from aggregator.page.settings.groups import group_routes
from aggregator.page.settings.joining import joining_routes


def settings_routes(application: FastAPI, frame: Frame) -> None:
    """All of them."""
    for add_routes in (access_routes, alert_routes, joining_routes, group_routes, audit_routes):
        add_routes(application, frame)
