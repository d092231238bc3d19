"""Settings that the aggregator changes from afar: decided, tried and, where the device fails with them, taken back."""

from edge_agent.remote.effective import Decision, decide, in_force
from edge_agent.remote.kept import FILE, Kept, read_kept
from edge_agent.remote.remote_configuration import RemoteConfiguration

__all__ = ["FILE", "Decision", "Kept", "RemoteConfiguration", "decide", "in_force", "read_kept"]
