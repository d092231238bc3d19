"""News for open pages: one reader of the store for all of them, one event a second at most.

Nothing waits in a queue: a viewer who is slow gets the newest picture when they are ready for it, and never hears of
those between.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from headway.errors import HeadwayError
from headway.ports import Clock

log = logging.getLogger("headway.page")

EVERY_S = 1.0
LOOK_S = 0.25
# a connection that says nothing is taken for dead by what lies between
SILENCE_S = 15.0
# after that the browser asks again, and is asked who it is
LASTS_S = 120.0
VIEWERS_MAX = 100
RETRY_MS = 2000
# the number of items in the inbox, beside those of the fleet
INBOX = "inbox"


@dataclass(frozen=True, slots=True)
class Pulse:
    """What open pages are told. numbers: by name; stamp: changes when anything of the fleet did."""

    numbers: Mapping[str, int]
    stamp: str

    def event(self, number: int) -> bytes:
        """As a server-sent event."""
        data = json.dumps({"numbers": dict(self.numbers), "stamp": self.stamp}, separators=(",", ":"))
        return f"id: {number}\nevent: pulse\ndata: {data}\n\n".encode()


class Live:
    """read: looks into the store, in a thread; never twice at once, and at most once a second."""

    def __init__(self, read: Callable[[], Pulse], clock: Clock) -> None:
        self._read, self._clock = read, clock
        self._reading = threading.Lock()
        self._read_last: tuple[float, Pulse] | None = None
        self._newest: tuple[int, bytes] = 0, b""
        self._viewers = 0
        self._reader: asyncio.Task[None] | None = None
        self._closed = threading.Event()

    @property
    def full(self) -> bool:
        """Whether no further viewer has a place."""
        return self._viewers >= VIEWERS_MAX

    @property
    def viewers(self) -> int:
        return self._viewers

    def pulse(self) -> Pulse:
        """What there is to tell, at most a second old; also for pages that are loaded. Raises HeadwayError."""
        with self._reading:
            now_s = self._clock.monotonic_s()
            if self._read_last is None or now_s - self._read_last[0] >= EVERY_S:
                self._read_last = now_s, self._read()
            return self._read_last[1]

    def close(self) -> None:
        """End every stream within a moment. From any thread."""
        self._closed.set()

    async def events(self) -> AsyncIterator[bytes]:
        """The stream of one viewer, until it is long enough, they leave, or the server stops."""
        self._viewers += 1
        if self._reader is None:
            self._reader = asyncio.create_task(self._read_on())
        try:
            yield f"retry: {RETRY_MS}\n\n".encode()
            told, silent_s, open_s = -1, 0.0, 0.0
            while not self._closed.is_set() and open_s < LASTS_S:
                number, event = self._newest
                if event and number != told:
                    told, silent_s = number, 0.0
                    yield event
                elif silent_s >= SILENCE_S:
                    silent_s = 0.0
                    yield b": still here\n\n"
                await asyncio.sleep(LOOK_S)
                silent_s, open_s = silent_s + LOOK_S, open_s + LOOK_S
        finally:
            self._viewers -= 1
            if not self._viewers and self._reader is not None:
                self._reader.cancel()
                self._reader, self._newest = None, (self._newest[0], b"")

    async def _read_on(self) -> None:
        """While anybody looks. What the store refuses is told in the log once, and tried again."""
        told = ""
        while not self._closed.is_set():
            try:
                pulse = await run_in_threadpool(self.pulse)
            except HeadwayError as error:
                if str(error) != told:
                    told = str(error)
                    log.error("the page cannot read the store: %s", told)
            else:
                told = ""
                number, event = self._newest
                if pulse.event(number) != event:
                    self._newest = number + 1, pulse.event(number + 1)
            await asyncio.sleep(EVERY_S)
