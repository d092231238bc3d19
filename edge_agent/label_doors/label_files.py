"""Writes labels into the spool as a file: durable when it is there, learned once, also while no agent runs."""

from __future__ import annotations

import io
import math
import os
import secrets
import threading

import numpy as np

from edge_agent.config import SensorSettings
from headway.arrays import AnyArray
from headway.durable import write_durably
from headway.errors import ConfigError, DataError, StoreError
from headway.ports import Clock
from headway.sample_members import FROM, IDS, TO
from headway.wire import GivenLabels

BEGINNING = "labels-"
# they are taken up at the next look; so many wait only where no agent runs, or somebody floods it
FILES_MAX = 10_000


class LabelFiles:
    """Of one device's spool. Any thread may write."""

    def __init__(self, settings: SensorSettings, clock: Clock) -> None:
        self._spool, self._map, self._clock = settings.spool_dir, settings.label_map, clock
        self._lock, self._last_us = threading.Lock(), 0

    def write(self, given: GivenLabels) -> str:
        """Returns the file's name. Files of one process, and of others by this machine's clock, are taken up in the
        order in which they were written.

        Raises ConfigError where there is no spool, StoreError where the disk refuses or too many files wait.
        """
        try:
            waiting = sum(name.startswith(BEGINNING) for name in os.listdir(self._spool))
        except OSError as error:
            problem = f"cannot read {self._spool}: {error.strerror}; start the agent once, or check spool_dir"
            raise ConfigError(problem) from error
        if waiting >= FILES_MAX:
            raise StoreError(f"{waiting} files of labels wait in {self._spool} already; is the agent running?")
        buffer = io.BytesIO()
        np.savez(buffer, y=_labels(given), **_windows(given))  # type: ignore[arg-type]
        with self._lock:  # the order of names is the order of dates, which may be the same
            name = self._next_name()
            write_durably(self._spool / name, buffer.getvalue())
        return name

    def take(self, payload: bytes) -> str:
        """The same, of labels as JSON. Raises DataError when they are malformed, too."""
        return self.write(GivenLabels.decode(payload, DataError))

    def _next_name(self) -> str:
        self._last_us = max(self._last_us + 1, int(self._clock.wall_s() * 1e6))
        return f"{BEGINNING}{self._last_us:017d}-{secrets.token_hex(4)}.npz"


def _windows(given: GivenLabels) -> dict[str, AnyArray]:
    """Which windows they are of."""
    spans = [each.span for each in given.labels if each.span is not None]
    if not spans:
        return {IDS: np.array([each.id for each in given.labels])}
    return {FROM: np.array([begin for begin, _ in spans]), TO: np.array([end for _, end in spans])}


def _labels(given: GivenLabels) -> AnyArray:
    """Names of classes, "" for none; or values (n, C), NaN where one is unknown."""
    if not given.labels[0].values:
        return np.array([each.label for each in given.labels])
    return np.array([[math.nan if value is None else value for value in each.values] for each in given.labels])
