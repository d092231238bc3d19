"""From the configuration to a running agent: open the bundle, the store, the last state."""

from edge_agent.startup.active_bundle import InferenceFailed, Opened, open_bundle
from edge_agent.startup.device import build_device
from edge_agent.startup.restore import restore_learner
from edge_agent.startup.restored_agent import open_agent

__all__ = [
    "InferenceFailed",
    "Opened",
    "build_device",
    "open_agent",
    "open_bundle",
    "restore_learner",
]
