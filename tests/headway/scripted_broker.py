"""A broker that says what a test tells it to: just enough MQTT 5 for reason codes that no real broker gives on demand.

Every connection takes the next script; the last one is repeated. A script is a list of steps:
    bytes         send them
    "connect"     wait for a packet of that type (connect, publish, subscribe, disconnect)
    "close"       close the connection
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

PACKETS = {"connect": 1, "publish": 3, "subscribe": 8, "disconnect": 14}
Step = bytes | str | Callable[[bytes], bytes]


def packet(kind: int, body: bytes) -> bytes:
    """A control packet: first byte and body, with the length between them."""
    length, rest = b"", len(body)
    while True:
        rest, digit = divmod(rest, 128)
        length += bytes([digit | (128 if rest else 0)])
        if not rest:
            return bytes([kind]) + length + body


def properties(*parts: bytes) -> bytes:
    joined = b"".join(parts)
    return packet(0, joined)[1:]


def text(identifier: int, value: str) -> bytes:
    encoded = value.encode()
    return bytes([identifier]) + struct.pack(">H", len(encoded)) + encoded


def connack(code: int, *parts: bytes) -> bytes:
    return packet(0x20, bytes([0, code]) + properties(*parts))


def disconnect(code: int, *parts: bytes) -> bytes:
    return packet(0xE0, bytes([code]) + properties(*parts))


def puback(code: int) -> Callable[[bytes], bytes]:
    """Answers the publish before it: made from that packet's identifier."""

    def answer(publish: bytes) -> bytes:
        (topic_length,) = struct.unpack_from(">H", publish)
        identifier = publish[2 + topic_length : 4 + topic_length]
        return packet(0x40, identifier + bytes([code]) + properties())

    return answer


def suback(*codes: int) -> Callable[[bytes], bytes]:
    return lambda subscribe: packet(0x90, subscribe[:2] + properties() + bytes(codes))


@dataclass
class ScriptedBroker:
    """connects: the body of every CONNECT received."""

    scripts: list[list[Step]]
    connects: list[bytes] = field(default_factory=list)
    published: list[bytes] = field(default_factory=list)

    def __enter__(self) -> ScriptedBroker:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        number = 0
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            script = self.scripts[min(number, len(self.scripts) - 1)]
            number += 1
            threading.Thread(target=self._play, args=(connection, script), daemon=True).start()

    def _play(self, connection: socket.socket, script: list[Step]) -> None:
        last = b""
        with connection, connection.makefile("rb") as stream:
            try:
                for step in script:
                    if step == "close":
                        return
                    if isinstance(step, bytes):
                        connection.sendall(step)
                    elif callable(step):
                        connection.sendall(step(last))
                    else:
                        last = self._wait_for(stream, PACKETS[step])
                while stream.read(1):
                    continue
            except (OSError, EOFError):
                return

    def _wait_for(self, stream: object, wanted: int) -> bytes:
        while True:
            kind, body = read_packet(stream)
            if kind == 1:
                self.connects.append(body)
            elif kind == 3:
                self.published.append(body)
            if kind == wanted:
                return body


def read_packet(stream: object) -> tuple[int, bytes]:
    """Type and body of the next packet. Raises EOFError at the end of the stream."""
    read: Callable[[int], bytes] = stream.read  # type: ignore[attr-defined]
    first = read(1)
    if not first:
        raise EOFError
    length = shift = 0
    while True:
        digit = read(1)[0]
        length |= (digit & 127) << shift
        shift += 7
        if digit < 128:
            return first[0] >> 4, read(length)
