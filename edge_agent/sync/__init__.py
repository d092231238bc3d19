"""The device's side of the wire: reports up, heads and priors down, the outbox, the device's history."""

from edge_agent.sync.downlink import FleetNews
from edge_agent.sync.error_feedback import ErrorFeedback
from edge_agent.sync.history import Baseline, Birth, SyncState
from edge_agent.sync.outbox import Outbox, as_sent
from edge_agent.sync.uplink import Reporting

__all__ = [
    "Baseline",
    "Birth",
    "ErrorFeedback",
    "FleetNews",
    "Outbox",
    "Reporting",
    "SyncState",
    "as_sent",
]
