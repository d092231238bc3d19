"""Names the product's classes that a simulated fleet runs; tests replace one to plant a bug."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aggregator.core import Aggregator
from aggregator.service import Service
from edge_agent.agent import Agent
from edge_agent.loop import DeviceLoop
from edge_agent.startup import open_agent
from headway_simulation.disk import SimulatedSpool, SimulatedStore
from headway_simulation.remote_settings import SimulatedRemote
from headway_simulation.server_disk import ServerStore


@dataclass(frozen=True, slots=True)
class Build:
    """The classes a run uses. Tests replace one by a faulty subclass, to see that the faults are found."""

    loop: type[DeviceLoop] = DeviceLoop
    open_agent: Callable[..., Agent] = open_agent
    store: type[SimulatedStore] = SimulatedStore
    spool: type[SimulatedSpool] = SimulatedSpool
    remote: type[SimulatedRemote] = SimulatedRemote
    core: type[Aggregator] = Aggregator
    service: type[Service] = Service
    server_store: type[ServerStore] = ServerStore
