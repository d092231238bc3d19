"""Puts the agent onto a machine: a trimmed environment under /opt/headway, units, and the folders that they need."""

from edge_agent.installing.first_configuration import (
    FirstValues,
    belongs_to_system,
    broker_address,
    write_first_configuration,
)
from edge_agent.installing.system import Machine, carry_out, install_steps, uninstall_steps

__all__ = [
    "FirstValues",
    "Machine",
    "belongs_to_system",
    "broker_address",
    "carry_out",
    "install_steps",
    "uninstall_steps",
    "write_first_configuration",
]
