"""Puts the agent onto a machine: a trimmed environment under /opt/headway, units, and the folders that they need."""

from edge_agent.installing.combinations import Combination, fitting_runtime, installed_runtimes
from edge_agent.installing.first_configuration import FirstValues, write_first_configuration
from edge_agent.installing.system import Machine, carry_out, install_steps, uninstall_steps

__all__ = [
    "Combination",
    "FirstValues",
    "Machine",
    "carry_out",
    "fitting_runtime",
    "install_steps",
    "installed_runtimes",
    "uninstall_steps",
    "write_first_configuration",
]
