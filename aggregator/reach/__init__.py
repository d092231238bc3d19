"""How commands reach a fleet: through its store on this machine, or through the API of another one."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aggregator.reach.elsewhere import RemoteFleet
    from aggregator.reach.here import LocalFleet
    from aggregator.reach.look import LocalLook, Look
    from aggregator.reach.protocol import Fleet

__all__ = ["Fleet", "LocalFleet", "LocalLook", "Look", "RemoteFleet"]
WHERE = {"Fleet": "protocol", "LocalFleet": "here", "LocalLook": "look", "Look": "look", "RemoteFleet": "elsewhere"}


def __getattr__(name: str) -> object:
    """Load a way when a command takes it: who only looks waits for nothing that changes a fleet."""
    if name in WHERE:
        found: object = getattr(importlib.import_module(f"{__name__}.{WHERE[name]}"), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
