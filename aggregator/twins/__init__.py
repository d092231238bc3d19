"""Twins: what the settings of each device should be, what it says they are, and the difference."""

from aggregator.twins.effective import Wanted, merged, stored_values
from aggregator.twins.twins import Twins
from aggregator.twins.view import Difference, SettingsView, settings_view
from aggregator.twins.wanted import change_settings, wanted_settings

__all__ = [
    "Difference",
    "SettingsView",
    "Twins",
    "Wanted",
    "change_settings",
    "merged",
    "settings_view",
    "stored_values",
    "wanted_settings",
]
