"""A sensor of raw rows: a thread of its own reads the source and cuts windows, which wait in a bounded queue.

The windows are in memory alone. What waits when the power fails is not answered; nothing of it was learned.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge_agent.sensors import Claimed
from edge_agent.source_settings import SourceSettings
from edge_agent.sources.cutting import build_cutter
from edge_agent.sources.ports import Source
from headway.arrays import Float32
from headway.bundle import Variant
from headway.errors import HeadwayError
from headway.ports import Clock
from headway.samples import Ids, Samples

log = logging.getLogger("edge-agent")
BATCH_WINDOWS_MAX, BATCH_BYTES_MAX = 64, 8 << 20
RETRY_S_MIN, RETRY_S_MAX = 1.0, 60.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Waiting(NamedTuple):
    """values: float32 (*input_shape); end_s, by the times of its rows, and came_s: seconds since 1970."""

    id: str
    end_s: float
    came_s: float
    values: Float32


class StreamSensor:
    """Windows of one source. Its windows' ids are its name and the time of their first step, each given once.

    clock: for what is told of how fast windows are answered. ready: called from the sensor's thread when a window
    begins to wait.
    """

    def __init__(
        self,
        settings: SourceSettings,
        source: Source,
        variant: Variant,
        clock: Clock,
        ready: Callable[[], object] = lambda: None,
    ) -> None:
        self._settings, self._source, self._variant, self._ready = settings, source, variant, ready
        self._clock = clock
        build_cutter(settings, source, variant)
        cut = None if settings.each == "window" else variant.stream
        self._window_s = 0.0 if cut is None else cut.length / cut.rate_hz
        window_bytes = 4 * math.prod(variant.input_shape)
        self._windows_max = min(settings.windows_max, max(1, settings.bytes_max // window_bytes))
        self._batch_windows = max(1, min(BATCH_WINDOWS_MAX, BATCH_BYTES_MAX // window_bytes))
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._waiting: deque[_Waiting] = deque()
        self._claimed: dict[int, tuple[_Waiting, ...]] = {}
        self._notices: list[tuple[str, str]] = []
        self._told_dropped = self._last_us = 0
        self.dropped = 0
        self.problem = ""
        self._ended = False
        self._thread = threading.Thread(target=self._read, name=f"source {settings.name}", daemon=True)

    def start(self) -> None:
        """Open the source; until then nothing runs that would have to be ended."""
        self._thread.start()

    @property
    def unsettled(self) -> int:
        """1 while the source may give more."""
        return 0 if self._ended else 1

    def close(self) -> None:
        """End the source and its thread."""
        self._stopping.set()
        self._source.close()
        if self._thread.ident is not None:
            self._thread.join()

    def claim(self, next_sequence: int) -> Iterator[Claimed]:
        """Batches of the windows that wait."""
        name = self._settings.name
        while True:
            with self._lock:
                count = min(len(self._waiting), self._batch_windows)
                batch = tuple(self._waiting.popleft() for _ in range(count))
            if not batch:
                return
            self._claimed[next_sequence] = batch
            file = f"{name}-{next_sequence:012d}.npz"
            yield Claimed(next_sequence, file, Path(f"{next_sequence:012d}-{file}"), batch[0].came_s)
            next_sequence += 1

    def holds(self, file: Claimed) -> bool:
        """Whether the batch is of this sensor."""
        return file.sequence in self._claimed

    def read(self, file: Claimed) -> Samples:
        """The batch's windows, under their ids."""
        batch = self._claimed[file.sequence]
        ids, ends_s = Ids(np.array([window.id for window in batch])), np.array([window.end_s for window in batch])
        return Samples(np.stack([window.values for window in batch]), None, ids, ids_made=True, ends_s=ends_s)

    def release(self, file: Claimed) -> None:
        """Forget a batch."""
        self._claimed.pop(file.sequence, None)

    def take_notices(self) -> list[tuple[str, str]]:
        """What people should know since the last call."""
        with self._lock:
            dropped = self.dropped - self._told_dropped
            notices, self._notices = self._notices, []
            self._told_dropped = self.dropped
        if dropped:
            limit = "windows_max" if self._windows_max == self._settings.windows_max else "bytes_max"
            waiting = f"{self._windows_max} waited to be answered (source.{limit})"
            name, total = self._settings.name, f"{self._told_dropped} since the start"
            notices.append((f"input-dropped {name}", f"{name}: {dropped} windows were dropped ({total}), {waiting}"))
        return notices

    def _read(self) -> None:
        """The thread: read the source until it ends, and again after a while."""
        retry_s = RETRY_S_MIN
        while not self._stopping.is_set():
            try:
                for _ in self._pass():
                    retry_s = RETRY_S_MIN
                if not self._stopping.is_set():
                    log.info("source %s has ended", self._settings.name)
                break
            except (HeadwayError, OSError) as error:
                self._set_problem(str(error))
            self._stopping.wait(retry_s)
            retry_s = min(2 * retry_s, RETRY_S_MAX)
        self._ended = True

    def _pass(self) -> Iterator[None]:
        """One opening of the source, a step for each piece of rows."""
        cutter = build_cutter(self._settings, self._source, self._variant)
        for rows in self._source.rows():
            windows = cutter.windows(rows)
            self._set_problem(cutter.lack)
            for start_s, window in zip(windows.starts_s.tolist(), windows.values, strict=True):
                self._put(start_s, window)
            yield

    def _put(self, start_s: float, window: Float32) -> None:
        # a clock that was set back does not give an id again
        self._last_us = max(round(start_s * 1e6), self._last_us + 1)
        with self._lock:
            full = len(self._waiting) >= self._windows_max
            self.dropped += full
            if full and self._settings.drop == "newest":
                return
            if full:
                self._waiting.popleft()
            name = f"{self._settings.name}-{_stamp(self._last_us)}"
            end_s = self._last_us / 1e6 + self._window_s
            self._waiting.append(_Waiting(name, end_s, self._clock.wall_s(), window))
        self._ready()

    def _set_problem(self, problem: str) -> None:
        if problem == self.problem:
            return
        name = self._settings.name
        with self._lock:
            text = f"source {name}: {problem}" if problem else f"source {name} gives rows again"
            self._notices.append((f"{'source-failed' if problem else 'source-back'} {name}", text))
        self.problem = problem


def _stamp(time_us: int) -> str:
    """``20261129T092236.123456Z``; a plain count where no calendar has it."""
    try:
        return f"{EPOCH + timedelta(microseconds=time_us):%Y%m%dT%H%M%S.%fZ}"
    except OverflowError:
        return str(time_us)
