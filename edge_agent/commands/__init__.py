"""Commands of edge-agent beside `run`: status, explain, classes, label, replay."""

from edge_agent.commands.classes import order
from edge_agent.commands.explain import decisions_text, read_decisions
from edge_agent.commands.label import give_label
from edge_agent.commands.replay import replay_recording
from edge_agent.commands.status import read_status, status_text

__all__ = [
    "decisions_text",
    "give_label",
    "order",
    "read_decisions",
    "read_status",
    "replay_recording",
    "status_text",
]
