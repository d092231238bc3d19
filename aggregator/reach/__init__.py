"""How commands reach a fleet: through its store on this machine, or through the API of another one."""

from aggregator.reach.elsewhere import RemoteFleet
from aggregator.reach.here import LocalFleet
from aggregator.reach.protocol import Fleet

__all__ = ["Fleet", "LocalFleet", "RemoteFleet"]
