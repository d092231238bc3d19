"""How a device joins its fleet and renews its certificate: short-lived commands, never the service."""

from edge_agent.enrolment.join import join_fleet
from edge_agent.enrolment.openssl import dates_of
from edge_agent.enrolment.renewal import renew_certificate

__all__ = ["dates_of", "join_fleet", "renew_certificate"]
