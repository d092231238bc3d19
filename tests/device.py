"""A device as the service builds it, on a test's own clock, store and wire."""

from __future__ import annotations

from edge_agent.config import AgentConfig
from edge_agent.labels import MachineState
from edge_agent.loop import DeviceLoop
from edge_agent.sensors import Sensor, Spool
from edge_agent.startup import Opened, build_device, open_agent
from edge_agent.store import Backup, Store
from headway.ports import Clock, Transport
from tests.edge_agent.variants import pipeline, variant


def open_device(
    config: AgentConfig,
    clock: Clock,
    store: Store,
    *,
    transport: Transport | None = None,
    backup: Backup | None = None,
    sensor: Sensor | None = None,
    machine_state: MachineState | None = None,
) -> DeviceLoop:
    """Of the small test variant, not started. transport: None works offline. sensor: by default the spool."""
    ack_record = (0, 0) if backup is None else backup.ack_record()
    agent = open_agent(config, variant(), store, ack_record=ack_record)
    return build_device(
        config,
        clock,
        Opened(variant(), pipeline(), store, backup, agent),
        sensor or Spool(config.sensor),
        connect=None if transport is None else lambda last_will: transport,
        machine_state=machine_state,
    )
