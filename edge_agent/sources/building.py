"""Opens the source that the configuration names, and joins it with the spool folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge_agent.config import AgentConfig
from edge_agent.sensors import Sensor, Spool, WindowFormat
from edge_agent.source_settings import SourceSettings
from edge_agent.sources.cutting import WHOLE
from edge_agent.sources.iio import IndustrialIO
from edge_agent.sources.joined import JoinedSensor
from edge_agent.sources.mqtt import BrokerTopics
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


def _http_rows(settings: SourceSettings, stream: StreamFormat, clock: Clock) -> Source:
    from edge_agent.sources.http import HttpRows  # loads http.server

    return HttpRows(settings, stream, clock)


BUILT_IN: dict[str, SourceFactory] = {
    "command": Command,
    "http": _http_rows,
    "iio": IndustrialIO,
    "mqtt": BrokerTopics,
    "serial": SerialLine,
    "stdin": Stdin,
}


def build_sensor(config: AgentConfig, variant: Variant, clock: Clock, ready: Callable[[], object]) -> Sensor:
    """The spool folder, and beside it the sources of ``[source]`` if there are any. Raises ConfigError.

    ready: called from another thread when a window of a source begins to wait.
    """
    spool = Spool(config.sensor, clock, WindowFormat.of(variant))
    if not config.sources:
        return spool
    if sum(settings.kind == "stdin" for settings in config.sources) > 1:
        raise ConfigError('two sources are of kind "stdin", and there is one; use "command" for the others')
    streams = []
    for given in config.sources:
        try:
            source, settings = open_source(completed(given, config), variant, clock)
            streams.append(StreamSensor(settings, source, variant, clock, ready))
        except (ConfigError, DataError) as error:
            raise ConfigError(f"source {given.name}: {error}") from error
    return JoinedSensor(spool, streams)


def completed(settings: SourceSettings, config: AgentConfig) -> SourceSettings:
    """With what stands elsewhere in the configuration: the fleet's broker serves where none is named."""
    mqtt = config.mqtt
    if settings.kind != "mqtt" or settings.host or mqtt is None:
        return settings
    return replace(
        settings,
        host=mqtt.host,
        port=mqtt.port,
        username=mqtt.username,
        password_file=mqtt.password_file,
        tls=mqtt.tls,
        ca_file=mqtt.ca_file,
    )


def open_source(settings: SourceSettings, variant: Variant, clock: Clock) -> tuple[Source, SourceSettings]:
    """A source for this bundle, and its settings with the shape of a window. Raises ConfigError."""
    stream, shape, factory = variant.stream, variant.input_shape, source_factory(settings.kind)
    if settings.each == "window":
        if settings.shape not in ((), shape):
            given, taken = ("x".join(map(str, each)) for each in (settings.shape, shape))
            raise ConfigError(f"source.shape is {given}, and the bundle takes windows of {taken}; let the source write "
                              f"{taken}")  # fmt: skip
        settings, stream = replace(settings, shape=shape), WHOLE
    if stream is None:
        raise ConfigError("rows need a bundle that says how windows are cut, and this one does not; convert the "
                          'model with --stream, or give whole windows (each = "window")')  # fmt: skip
    return factory(settings, stream, clock), settings


def source_factory(kind: str) -> SourceFactory:
    """Of the built-in kinds and of the entry points in the group ``headway.sources``. Raises ConfigError."""
    if kind in BUILT_IN:
        return BUILT_IN[kind]
    from importlib.metadata import entry_points

    found = entry_points(group=GROUP)
    if kind not in found.names:
        known = (*BUILT_IN, *sorted(found.names))
        raise ConfigError(f"source.kind {kind!r} is not known{nearest(kind, known)}")
    made: SourceFactory = found[kind].load()
    return made
