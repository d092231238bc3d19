"""Starts a device: opens the bundle and the store, restores the last state, puts the parts together."""

from edge_agent.startup.active_bundle import InferenceFailed, Opened, open_bundle
from edge_agent.startup.device import build_device
from edge_agent.startup.given_back import give_back_startup_memory
from edge_agent.startup.restore import restore_learner
from edge_agent.startup.restored_agent import open_agent

__all__ = [
    "InferenceFailed",
    "Opened",
    "build_device",
    "give_back_startup_memory",
    "open_agent",
    "open_bundle",
    "restore_learner",
]
