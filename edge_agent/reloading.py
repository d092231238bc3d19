"""SIGHUP: the device's own file is read again. One that cannot be used is refused, and the settings before stay.

What reads it is imported when it is read: a program hears the signal before it has loaded anything.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from headway.errors import ConfigError, HeadwayError

if TYPE_CHECKING:
    from edge_agent.config import AgentConfig
    from headway.bundle import Variant

log = logging.getLogger("edge-agent")

# they decide which history the device goes on with: a process changes them only by starting anew
FIXED = {"device": "device.id", "fleet": "device.fleet", "state_dir": "storage.state_dir"}


class ReloadRequest:
    """Whether somebody wants this file to be read again. file: agent.toml."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._requested = False
        self._wake: Callable[[], object] | None = None

    @classmethod
    def on_signal(cls, file: Path) -> ReloadRequest:
        """Asked for by SIGHUP, from now on. In a terminal SIGHUP says that this is gone, and still ends the program;
        one that is ignored, as nohup has it, stays so."""
        request = cls(file)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN and not (sys.stdin is not None and sys.stdin.isatty()):
            signal.signal(signal.SIGHUP, request._heard)
        return request

    def request(self) -> None:
        """Ask for it."""
        self._requested = True
        if self._wake is not None:
            self._wake()

    def wake_with(self, wake: Callable[[], object]) -> None:
        """Who waits for events is woken by this; fit for a signal handler."""
        self._wake = wake

    def accepted(self, own: AgentConfig) -> bool:
        """Whether a request waited, and the file can take the place of `own`, what the running agent read; a file that
        cannot is told in the log."""
        if not self._requested:
            return False
        self._requested = False
        from edge_agent.config import read_config

        try:
            config = read_config(self._file)
            for name, key in FIXED.items():
                before, after = getattr(own, name), getattr(config, name)
                if before != after:
                    raise ConfigError(f"{key} changes from {before} to {after}; systemctl restart edge-agent takes it")
            checked_files(config)
        except HeadwayError as error:
            log.error("%s is refused, the settings before stay: %s", self._file, error)
            return False
        log.info("%s is read again", self._file)
        return True

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.request()


def checked_files(config: AgentConfig) -> Variant:
    """Read every file that the configuration names; the bundle. Raises ConfigError, BundleError, as a start would."""
    from headway.bundle import read_public_key, read_public_keys, read_variant
    from headway.mqtt.tls import tls_context

    if config.sync.head_keys is not None:
        read_public_keys(config.sync.head_keys)
    key = None if config.public_key is None else read_public_key(config.public_key)
    variant = read_variant(config.bundle, public_key=key)
    if config.mqtt is not None:
        config.mqtt.password()
        tls_context(config.mqtt)
    return variant
