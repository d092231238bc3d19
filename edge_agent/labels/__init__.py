"""Labels on their way to the learner: with the window or late, corrected, waiting for their turn."""

from edge_agent.labels.events import DRIFT, EventLog, doubted, log_line, read_records
from edge_agent.labels.label_counts import log_labels
from edge_agent.labels.label_queue import WAITING
from edge_agent.labels.labelling import UNBOUNDED, Labelling, rows_in_turn
from edge_agent.labels.machine_state import LinuxMachineState, MachineState
from edge_agent.labels.policy import Policy
from edge_agent.labels.remembered import RememberedWindows, Window, unlabelled
from edge_agent.labels.spans import ended_in, in_words, of_windows
from edge_agent.labels.wanted import WantedLabels

__all__ = [
    "DRIFT",
    "UNBOUNDED",
    "WAITING",
    "EventLog",
    "Labelling",
    "LinuxMachineState",
    "MachineState",
    "Policy",
    "RememberedWindows",
    "WantedLabels",
    "Window",
    "doubted",
    "ended_in",
    "in_words",
    "log_labels",
    "log_line",
    "of_windows",
    "read_records",
    "rows_in_turn",
    "unlabelled",
]
