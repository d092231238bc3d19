"""Raw rows from a serial port: lines, or raw numbers, at a given speed, 8 bits, no parity."""

from __future__ import annotations

import errno
import os
import termios
from collections.abc import Iterator

from edge_agent.source_settings import SourceSettings
from edge_agent.sources.pipes import Pipe
from edge_agent.sources.ports import Rows
from headway.errors import ConfigError, DataError
from headway.ports import Clock
from headway.stream import StreamFormat

CONTROL_FLAGS = termios.CS8 | termios.CREAD | termios.CLOCAL


class SerialLine(Pipe):
    """What a microcontroller sends. A port that goes away, as USB does, is opened again when it is back."""

    def __init__(self, settings: SourceSettings, stream: StreamFormat, clock: Clock) -> None:
        if not settings.path:
            raise ConfigError('source.path is empty; name the serial port, "/dev/ttyUSB0"')
        if not hasattr(termios, f"B{settings.baud}"):
            raise ConfigError(f"source.baud {settings.baud} is no speed of a serial port; 9600 and 115200 are usual")
        super().__init__(settings, stream, clock)

    def rows(self) -> Iterator[Rows]:
        path = self._settings.path
        try:
            port = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            advice = "give its group to the agent (dialout)" if error.errno == errno.EACCES else "is it plugged in?"
            raise DataError(f"cannot open {path}: {error.strerror}; {advice}") from error
        try:
            self._set_up(port)
            yield from self.rows_of(port)
            if not self.closed:
                raise DataError(f"{path} went away; is it plugged in?")
        except termios.error as error:
            raise DataError(f"{path} is no serial port: {error.args[-1]}") from error
        except OSError as error:
            raise DataError(f"{path} went away: {error.strerror}") from error
        finally:
            os.close(port)

    def _set_up(self, port: int) -> None:
        """Bytes as they come: no line editing, no translation."""
        speed = getattr(termios, f"B{self._settings.baud}")
        *_, characters = termios.tcgetattr(port)
        termios.tcsetattr(port, termios.TCSANOW, [0, 0, CONTROL_FLAGS, 0, speed, speed, characters])
        termios.tcflush(port, termios.TCIFLUSH)
