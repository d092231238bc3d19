"""What ``edge-agent doctor`` sees of each source: it fits the bundle, and what it reads from is there and readable."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from edge_agent.commands.reaching import broker_answers
from edge_agent.config import AgentConfig
from edge_agent.source_settings import SourceSettings
from edge_agent.sources import BrokerTopics, IndustrialIO, Source, build_cutter, completed, open_source
from headway.bundle import Variant, read_variant
from headway.errors import BundleError, ConfigError, DataError, HeadwayError
from headway.ports import Clock

DEVICE_NODES = Path("/dev")


def look_at_sources(config: AgentConfig, clock: Clock) -> Iterator[tuple[str, str | HeadwayError]]:
    """Each source's name, and what is good in words, or what is wrong. None of them is read."""
    if not config.sources:
        return
    try:
        variant = read_variant(config.bundle)
    except BundleError:
        return  # which is another look's
    for settings in config.sources:
        try:
            yield settings.name, _seen(completed(settings, config), variant, clock)
        except HeadwayError as error:
            yield settings.name, error


def _seen(settings: SourceSettings, variant: Variant, clock: Clock) -> str:
    source, settings = open_source(settings, variant, clock)
    try:
        build_cutter(settings, source, variant)
        return _there(settings, source, clock)
    finally:
        source.close()


def _there(settings: SourceSettings, source: Source, clock: Clock) -> str:
    """Raises the family of what is wrong."""
    if isinstance(source, BrokerTopics):
        return broker_answers(source.broker, clock)
    if isinstance(source, IndustrialIO):
        folder = source.device()
        words = f"{folder} has {', '.join(source.channels)}"
        if not settings.buffer:
            return words
        return f"{words}; {_readable(DEVICE_NODES / folder.name, 'is its driver loaded?', 'give it a group (udev)')}"
    if settings.kind == "command":
        program = settings.command[0]
        found = shutil.which(program)
        if found is None:
            raise ConfigError(f"there is no program {program!r}; install it, or correct source.command")
        return f"{found} is there"
    if settings.kind == "serial":
        return _readable(Path(settings.path), "is it plugged in?", "add the user to its group: dialout")
    return f"{settings.kind} fits the bundle"


def _readable(node: Path, absent: str, denied: str) -> str:
    if not node.exists():
        raise DataError(f"{node} does not exist; {absent}")
    if not os.access(node, os.R_OK):
        raise DataError(f"you may not read {node}; {denied}")
    return f"{node} can be read"
