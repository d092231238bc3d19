"""Who may do what through the API: roles, passwords, and its settings."""

from aggregator.access.roles import Role
from aggregator.access.settings import ApiSettings

__all__ = ["ApiSettings", "Role"]
