"""Alerts: rules over devices and fleet, what they find opened and closed, and told to operators once under one id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.later import loaded_later

if TYPE_CHECKING:
    from aggregator.alerts.alerts import Alerts, Change, State, acknowledge, as_json, events_so_far
    from aggregator.alerts.rules import (
        BUILT_IN,
        Severity,
        Watches,
        known_rule,
        known_rules,
        put_rule,
        remove_rule,
        switch_rule,
    )
    from aggregator.alerts.settings import EmailSettings, WebhookSettings
    from aggregator.alerts.silences import Silenced, add_silence, end_silence
    from aggregator.alerts.summaries import shortened, span

__all__ = [
    "BUILT_IN",
    "Alerts",
    "Change",
    "EmailSettings",
    "Severity",
    "Silenced",
    "State",
    "Watches",
    "WebhookSettings",
    "acknowledge",
    "add_silence",
    "as_json",
    "end_silence",
    "events_so_far",
    "known_rule",
    "known_rules",
    "put_rule",
    "remove_rule",
    "shortened",
    "span",
    "switch_rule",
]
WHERE = {
    "alerts": "Alerts Change State acknowledge as_json events_so_far",
    "rules": "BUILT_IN Severity Watches known_rule known_rules put_rule remove_rule switch_rule",
    "settings": "EmailSettings WebhookSettings",
    "silences": "Silenced add_silence end_silence",
    "summaries": "shortened span",
}
if not TYPE_CHECKING:
    __getattr__ = loaded_later(__name__, WHERE)
