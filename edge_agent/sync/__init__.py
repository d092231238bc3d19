"""The device's side of the wire: reports up, heads and priors down, the outbox, the device's history."""

from edge_agent.sync.branches import ALL_ROWS, Branches
from edge_agent.sync.command_log import CommandLog
from edge_agent.sync.downlink import Downlink
from edge_agent.sync.epochs import Epochs
from edge_agent.sync.error_feedback import ErrorFeedback
from edge_agent.sync.history import SyncState
from edge_agent.sync.outbox import Outbox, as_sent
from edge_agent.sync.refusal import Refusal
from edge_agent.sync.uplink import Uplink

__all__ = [
    "ALL_ROWS",
    "Branches",
    "CommandLog",
    "Downlink",
    "Epochs",
    "ErrorFeedback",
    "Outbox",
    "Refusal",
    "SyncState",
    "Uplink",
    "as_sent",
]
