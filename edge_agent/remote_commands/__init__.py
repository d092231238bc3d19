"""Commands from afar: each done once, with a result, or not at all after its deadline."""

from edge_agent.remote_commands.actions import Actions
from edge_agent.remote_commands.diagnostics import gather_diagnostics, redacted, secrets_of
from edge_agent.remote_commands.remote_commands import RemoteCommands

__all__ = ["Actions", "RemoteCommands", "gather_diagnostics", "redacted", "secrets_of"]
