"""Opens the source that the configuration names, and joins it with the spool folder."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.config import AgentConfig
from edge_agent.sensors import Sensor, Spool
from edge_agent.source_settings import SourceSettings
from edge_agent.sources.iio import IndustrialIO
from edge_agent.sources.joined import JoinedSensor
from edge_agent.sources.pipes import Command, Stdin
from edge_agent.sources.ports import Source
from edge_agent.sources.serial_line import SerialLine
from edge_agent.sources.stream_sensor import StreamSensor
from headway.bundle import Variant
from headway.errors import ConfigError, DataError
from headway.fields import nearest
from headway.ports import Clock
from headway.stream import StreamFormat

GROUP = "headway.sources"
SourceFactory = Callable[[SourceSettings, StreamFormat, Clock], Source]
BUILT_IN: dict[str, SourceFactory] = {"command": Command, "iio": IndustrialIO, "serial": SerialLine, "stdin": Stdin}


def build_sensor(config: AgentConfig, variant: Variant, clock: Clock, ready: Callable[[], object]) -> Sensor:
    """The spool folder, and beside it the source of ``[source]`` if there is one. Raises ConfigError.

    ready: called from another thread when a window of the source begins to wait.
    """
    spool = Spool(config.sensor)
    settings = config.source
    if settings is None:
        return spool
    if variant.stream is None:
        raise ConfigError(f"[source] needs a bundle that says how windows are cut, and {config.bundle} does not; "
                          "convert the model with --stream")  # fmt: skip
    source = source_factory(settings.kind)(settings, variant.stream, clock)
    try:
        return JoinedSensor(spool, StreamSensor(settings, source, variant, ready))
    except DataError as error:
        raise ConfigError(f"[source]: {error}") from error


def source_factory(kind: str) -> SourceFactory:
    """Of the built-in kinds and of the entry points in the group ``headway.sources``. Raises ConfigError."""
    if kind in BUILT_IN:
        return BUILT_IN[kind]
    from importlib.metadata import entry_points

    found = entry_points(group=GROUP)
    if kind not in found.names:
        known = (*BUILT_IN, *sorted(found.names))
        raise ConfigError(f"source.kind {kind!r} is not known{nearest(kind, known)}; known: {', '.join(known)}")
    made: SourceFactory = found[kind].load()
    return made
