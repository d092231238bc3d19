"""Raw rows from a pipe: what a command prints, or what is piped into the agent."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator

from edge_agent.source_settings import SourceSettings
from edge_agent.sources.decoding import build_decoder, columns_of
from edge_agent.sources.ports import Rows
from edge_agent.sources.wake import Wake
from headway.errors import ConfigError, DataError
from headway.ports import Clock
from headway.stream import StreamFormat

PIECE_BYTES = 1 << 16
END_S = 2.0


class Pipe:
    """Reads a descriptor until it ends or `close` is called."""

    def __init__(self, settings: SourceSettings, stream: StreamFormat, clock: Clock) -> None:
        self._settings, self._stream, self._clock = settings, stream, clock
        self.channels, self.units = columns_of(settings)
        self._wake = Wake()
        self.closed = False
        build_decoder(settings, stream, clock)

    def close(self) -> None:
        """End `rows`, from another thread."""
        self.closed = True
        self._wake.ring()

    def rows_of(self, descriptor: int) -> Iterator[Rows]:
        """What is read from an open descriptor until it ends."""
        decoder = build_decoder(self._settings, self._stream, self._clock)
        while True:
            ready, _, _ = select.select([descriptor, self._wake.fileno()], [], [])
            if self._wake.fileno() in ready:
                return
            piece = os.read(descriptor, PIECE_BYTES)
            if not piece:
                return
            rows = decoder.feed(piece)
            if len(rows.times_s):
                yield rows


class Command(Pipe):
    """What a command prints. It is ended with the source."""

    def __init__(self, settings: SourceSettings, stream: StreamFormat, clock: Clock) -> None:
        if not settings.command:
            raise ConfigError('source.command is empty; give the program and its arguments, ["arecord", "-t", "raw"]')
        super().__init__(settings, stream, clock)

    def rows(self) -> Iterator[Rows]:
        command = self._settings.command
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        except OSError as error:
            raise DataError(
                f"cannot start {command[0]!r}: {error.strerror}; install it or correct source.command"
            ) from error
        assert process.stdout is not None
        with process.stdout as output:
            try:
                yield from self.rows_of(output.fileno())
            finally:
                ended = _ended(process)
        raise DataError(f"{command[0]!r} ended with status {ended}; run it by hand to see why")


class Stdin(Pipe):
    """What is piped into the agent."""

    def rows(self) -> Iterator[Rows]:
        if sys.stdin is None:  # closed by whoever started this program
            raise DataError("stdin is closed; pipe rows into the agent, or choose another kind of source")
        yield from self.rows_of(sys.stdin.fileno())


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Its status; one that does not end by itself is ended."""
    process.terminate()
    try:
        return process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
