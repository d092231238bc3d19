"""Serves answers on a Unix socket, a line of JSON each, to several readers; a line that a reader writes is a label.

A thread of its own does all of it. A reader that does not read is cut off when more than `queue_max` lines wait for it;
the others and the device do not notice.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_agent.answers.ports import Given
from headway.errors import ConfigError, HeadwayError
from headway.fields import canonical_json
from headway.wire import MESSAGE_BYTES_MAX

RECEIVE_BYTES = 64 << 10
STOP_S = 5.0


class _Reader:
    """One connection: lines that wait to be sent, bytes that are no whole line yet."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.waiting: deque[bytes] = deque()
        self._received = b""

    def lines_of(self, received: bytes) -> list[bytes] | None:
        """Whole lines, once more bytes have come; None when a line is too long."""
        *lines, self._received = (self._received + received).split(b"\n")
        return None if len(self._received) > MESSAGE_BYTES_MAX else [line for line in lines if line]


class UnixSocket:
    """An `AnswerSink`. label: takes a label as JSON and gives the name of its file; raises HeadwayError.

    The owner and the group may connect. Raises ConfigError when the socket cannot be made.
    """

    def __init__(
        self, path: Path, readers_max: int, queue_max: int, label: Callable[[bytes], str], mode: int = 0o660
    ) -> None:
        self._path, self._readers_max, self._queue_max, self._label = path, readers_max, queue_max, label
        self.dropped, self.problem = 0, ""
        self._lock = threading.Lock()
        self._new: deque[bytes] = deque()
        self._stopping = False
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._listener = _listen(path, mode)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._readers: dict[socket.socket, _Reader] = {}
        self._thread = threading.Thread(target=self._serve, name="answers socket", daemon=True)
        self._thread.start()

    def take(self, answers: Sequence[Given], *, again: bool) -> None:
        with self._lock:
            self._new.extend(given.payload + b"\n" for given in answers)
        self._wake()

    def turn(self) -> None:
        return

    def close(self) -> None:
        """What was taken is still sent, to those who read it at once."""
        self._stopping = True
        self._wake()
        self._thread.join(STOP_S)
        self._path.unlink(missing_ok=True)
        os.close(self._wake_writer)

    def _wake(self) -> None:
        try:
            os.write(self._wake_writer, b".")
        except BlockingIOError:
            return  # it is about to wake up anyway

    def _serve(self) -> None:
        while not self._stopping or self._new:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj == self._wake_reader:
                    os.read(self._wake_reader, RECEIVE_BYTES)
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._readers:
                    self._receive(self._readers[key.fileobj])
            self._hand_out()
            for reader in list(self._readers.values()):
                self._send(reader)
                if len(reader.waiting) > self._queue_max:
                    self._cut_off(reader)
        for reader in list(self._readers.values()):
            self._leave(reader)
        self._selector.close()
        self._listener.close()
        os.close(self._wake_reader)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            self.problem = f"cannot take a reader of {self._path}: {error.strerror or error}"
            return
        if len(self._readers) >= self._readers_max:
            connection.close()
            return
        connection.setblocking(False)
        self._readers[connection] = _Reader(connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _hand_out(self) -> None:
        with self._lock:
            lines, self._new = self._new, deque()
        for reader in self._readers.values():
            reader.waiting.extend(lines)

    def _cut_off(self, reader: _Reader) -> None:
        if reader.connection in self._readers:
            self.dropped += len(reader.waiting)
            self.problem = f"a reader of {self._path} left {len(reader.waiting)} unread and was cut off (queue_max)"
            self._leave(reader)

    def _send(self, reader: _Reader) -> None:
        try:
            while reader.waiting:
                sent = reader.connection.send(reader.waiting[0])
                rest = reader.waiting.popleft()[sent:]
                if rest:
                    reader.waiting.appendleft(rest)
        except BlockingIOError:
            self._watch(reader, selectors.EVENT_READ | selectors.EVENT_WRITE)
        except OSError:
            self._leave(reader)  # it went away
        else:
            self._watch(reader, selectors.EVENT_READ)

    def _watch(self, reader: _Reader, events: int) -> None:
        if reader.connection in self._readers:
            self._selector.modify(reader.connection, events)

    def _receive(self, reader: _Reader) -> None:
        try:
            received = reader.connection.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return  # it only takes more
        except OSError:
            received = b""
        lines = reader.lines_of(received) if received else None
        if lines is None:
            self._leave(reader)
        else:
            reader.waiting.extend(map(self._answer, lines))

    def _answer(self, line: bytes) -> bytes:
        """What became of a line that a reader wrote."""
        try:
            return canonical_json({"accepted": self._label(line)}) + b"\n"
        except HeadwayError as error:
            return canonical_json({"problem": str(error)}) + b"\n"

    def _leave(self, reader: _Reader) -> None:
        if self._readers.pop(reader.connection, None) is not None:
            self._selector.unregister(reader.connection)
            reader.connection.close()


def _listen(path: Path, mode: int) -> socket.socket:
    """A socket that is left over from a run that was killed goes; anything else stays."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            path.unlink()
        listener.bind(str(path))
        path.chmod(mode)
        listener.listen()
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {path}: {error.strerror or error}; see socket of [answers]") from error
    return listener
