"""Labels on their way to the learner: with the window or late, corrected, waiting for their turn."""

from edge_agent.labels.events import WATCHED, Watch, read_records, told
from edge_agent.labels.label_queue import WAITING
from edge_agent.labels.labelling import UNBOUNDED, Teaching
from edge_agent.labels.machine_state import LinuxSurroundings, Surroundings
from edge_agent.labels.policy import Policy
from edge_agent.labels.remembered import Window, Windows, unlabelled

__all__ = [
    "UNBOUNDED",
    "WAITING",
    "WATCHED",
    "LinuxSurroundings",
    "Policy",
    "Surroundings",
    "Teaching",
    "Watch",
    "Window",
    "Windows",
    "read_records",
    "told",
    "unlabelled",
]
