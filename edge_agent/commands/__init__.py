"""Commands of edge-agent beside `run`: status, explain, classes, label, replay and others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.later import loaded_later

if TYPE_CHECKING:
    from edge_agent.commands.check import check_configuration
    from edge_agent.commands.classes import order
    from edge_agent.commands.diag import write_archive
    from edge_agent.commands.doctor import examine, exit_code, findings_text
    from edge_agent.commands.explain import decisions_text, read_decisions
    from edge_agent.commands.label import give_label, give_span_label
    from edge_agent.commands.leaving import leave_home_assistant
    from edge_agent.commands.replay import Extras, replay_recording
    from edge_agent.commands.status import read_status, status_text
    from edge_agent.commands.try_model import settings_of, trial_lines
    from edge_agent.commands.watch import watch_device

__all__ = [
    "Extras",
    "check_configuration",
    "decisions_text",
    "examine",
    "exit_code",
    "findings_text",
    "give_label",
    "give_span_label",
    "leave_home_assistant",
    "order",
    "read_decisions",
    "read_status",
    "replay_recording",
    "settings_of",
    "status_text",
    "trial_lines",
    "watch_device",
    "write_archive",
]
WHERE = {
    "check": "check_configuration",
    "classes": "order",
    "diag": "write_archive",
    "doctor": "examine exit_code findings_text",
    "explain": "decisions_text read_decisions",
    "label": "give_label give_span_label",
    "leaving": "leave_home_assistant",
    "replay": "Extras replay_recording",
    "status": "read_status status_text",
    "try_model": "settings_of trial_lines",
    "watch": "watch_device",
}
if not TYPE_CHECKING:
    __getattr__ = loaded_later(__name__, WHERE)
