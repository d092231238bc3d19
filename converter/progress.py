"""Shows the progress of a conversion, one line per step; on a terminal the line counts the seconds."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TextIO

from headway.ports import Clock

REFRESH_S = 0.5


class Steps:
    """Call it with the name of each step as it begins; leaving the context ends the last one."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream, self._clock = stream, clock
        self._live = stream.isatty()
        self._step, self._start_s = "", 0.0
        self._stop = threading.Event()
        self._ticker: threading.Thread | None = None

    def __call__(self, step: str) -> None:
        self._end()
        self._step, self._start_s = step, self._clock.monotonic_s()
        if self._live:
            self._stop = threading.Event()
            self._ticker = threading.Thread(target=self._tick, args=(self._stop,), daemon=True)
            self._ticker.start()

    def __enter__(self) -> Steps:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _tick(self, stop: threading.Event) -> None:
        while not stop.wait(REFRESH_S):
            self._show("\r")

    def _end(self) -> None:
        self._stop.set()
        if self._ticker is not None:
            self._ticker.join()
        if self._step:
            self._show("\r" if self._live else "", "\n")
        self._step = ""

    def _show(self, before: str, after: str = "") -> None:
        seconds = self._clock.monotonic_s() - self._start_s
        self._stream.write(f"{before}  {self._step} ... {seconds:.1f} s{after}")
        self._stream.flush()
