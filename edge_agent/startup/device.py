"""Puts a device together: the one place that does so, for the service, the simulation and the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_agent.config import AgentConfig
from edge_agent.delivery import Installer
from edge_agent.health import HealthReports
from edge_agent.labels import LinuxMachineState, MachineState, Policy
from edge_agent.loop import DeviceLoop
from edge_agent.remote import RemoteConfiguration
from edge_agent.sensors import Sensor
from edge_agent.startup.active_bundle import Opened
from edge_agent.store import RetryingStore, StandbyStore
from edge_agent.trial import Trials
from headway.ports import Clock, Outgoing, Transport
from headway.stopping import StopRequest


def build_device(
    config: AgentConfig,
    clock: Clock,
    opened: Opened,
    sensor: Sensor,
    *,
    connect: Callable[[Outgoing], Transport] | None = None,
    installer: Installer | None = None,
    machine_state: MachineState | None = None,
    input_waits: Callable[[], bool] = lambda: False,
    loop: type[DeviceLoop] = DeviceLoop,
    stop: StopRequest | None = None,
    folder: Path | None = None,
    health: HealthReports | None = None,
    trials: Trials | None = None,
    remote: RemoteConfiguration | None = None,
) -> DeviceLoop:
    """A device that is ready to start, on an opened bundle and store.

    connect: makes the connection, given the last will; None works offline. installer: takes bundles over the network.
    machine_state: of this Linux machine by default. input_waits: whether something came since the last look. loop:
    another class in tests. stop, folder, health, remote, trials: as for `DeviceLoop`.
    Raises ConfigError for a policy that this machine cannot follow.
    """
    store, backup = opened.store, opened.backup
    if isinstance(store, StandbyStore):
        retrying = RetryingStore(store)
        retrying.refused(store.failure, clock.monotonic_s())
    else:
        retrying = RetryingStore(store, backup)
    notes = (
        ("store-recovered", opened.recovered),
        ("backup-renewed", opened.renewed),
        ("pointer-recovered", opened.pointed),
    )
    return loop(
        config,
        clock,
        opened.variant,
        opened.pipeline,
        retrying,
        opened.agent,
        sensor,
        Policy(config.policy, machine_state or LinuxMachineState(), clock.monotonic_s(), input_waits),
        connect=connect,
        installer=installer,
        replace_database=None if backup is None else backup.replace_database,
        stop=stop,
        folder=folder,
        health=health,
        trials=trials,
        remote=remote,
        notes=[(name, text) for name, text in notes if text],
    )
