"""The client that moves many packets at once says, asks and answers what paho's own does, however its bytes come."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections import deque
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from headway.mqtt.quick_client import QuickClient, client_class
from headway.mqtt.sockets import leave_writing_to_the_loop
from tests.headway.scripted_broker import connack, packet, properties, text

CONTENT_TYPE, USER = 0x03, 0x26
LONG = properties(*(bytes([USER]) + text(0, "name")[1:] + text(0, "v" * 60)[1:] for _ in range(4)))


def publish(topic: bytes, payload: bytes, mid: int = 0, said: bytes = b"\0", retain: bool = False) -> bytes:
    number = struct.pack(">H", mid) if mid else b""
    return packet(0x30 | (2 if mid else 0) | retain, struct.pack(">H", len(topic)) + topic + number + said + payload)


def puback(mid: int, *rest: int) -> bytes:
    return packet(0x40, struct.pack(">H", mid) + bytes(rest))


GOOD = [
    publish(b"a/b", b"one"),
    publish(b"a/b", b"", 7, retain=True),
    publish("ä/b".encode(), b"x" * 3000, 8, properties(text(CONTENT_TYPE, "application/json"))),
    publish(b"a/c", b"long properties", 9, LONG),
    puback(1), puback(2, 0x10), puback(3, 0x87), puback(4, 0), puback(77), puback(5, 0x97, 0),
    packet(0xD0, b""),
    publish(b"a/b", b"last", 10),
]  # fmt: skip
BAD = {
    "a length of five bytes": b"\x30\xff\xff\xff\xff\x7f",
    "a topic longer than its packet": packet(0x30, b"\0\x09ab"),
    "an unknown property": publish(b"a", b"x", 3, b"\x02\x7f\x01"),
    "a topic that is no UTF-8": publish(b"\xff\xfe", b"x", 3),
    "a packet that nobody may send": packet(0x80, b"\0\1\0"),
    "the end": packet(0xE0, b"\x8e\0"),
}


class Recorded:
    """What a client told, and the other end of its connection."""

    def __init__(self) -> None:
        self.mine, self.other = socket.socketpair()
        self.mine.setblocking(False)
        self.other.setblocking(False)
        self.told: list[tuple[object, ...]] = []

    def __enter__(self) -> Recorded:
        return self

    def __exit__(self, *_: object) -> None:
        self.mine.close()
        self.other.close()

    def message(self, client: Any, _: Any, message: Any) -> None:
        told = message.properties
        said = getattr(told, "UserProperty", None), getattr(told, "ContentType", None)
        self.told.append((message.topic, bytes(message.payload), bool(message.retain), message.mid, said))

    def published(self, client: Any, _: Any, mid: int, reason: Any, properties: Any) -> None:
        self.told.append((mid, str(reason), reason.value))

    def disconnected(self, client: Any, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.told.append((str(reason),))

    def sent(self) -> bytes:
        try:
            return self.other.recv(1 << 20)
        except BlockingIOError:
            return b""


def run(kind: type[paho.Client], stream: bytes, size: int) -> tuple[list[tuple[object, ...]], bytes, int]:
    """Callbacks, bytes that were sent, and messages that still wait, of a client that is given a stream in pieces."""
    with Recorded() as recorded:
        return run_with(recorded, kind, stream, size)


def connected(recorded: Recorded, kind: type[paho.Client]) -> paho.Client:
    """A client at one end of the connection."""

    class Connected(kind):  # type: ignore[misc, valid-type]
        def _create_socket(self) -> socket.socket:
            return recorded.mine

    client = Connected(CallbackAPIVersion.VERSION2, client_id="c", protocol=paho.MQTTv5, reconnect_on_failure=False)
    client.max_inflight_messages_set(5)
    client.on_message, client.on_publish = recorded.message, recorded.published
    client.on_disconnect, client.on_socket_register_write = recorded.disconnected, leave_writing_to_the_loop
    client.connect("nowhere")
    recorded.other.sendall(connack(0))
    while not client.is_connected():
        assert client.loop(0.2) == paho.MQTT_ERR_SUCCESS
    return client


def run_with(
    recorded: Recorded, kind: type[paho.Client], stream: bytes, size: int
) -> tuple[list[tuple[object, ...]], bytes, int]:
    client = connected(recorded, kind)
    for number in range(8):
        client.publish(f"t/{number}", b"payload", 1)
    client.loop(0.01)
    code = paho.MQTT_ERR_SUCCESS
    for start in range(0, len(stream), size):
        recorded.other.sendall(stream[start : start + size])
        while code == paho.MQTT_ERR_SUCCESS and _waits(recorded.mine):
            code = client.loop(0.0)
    while code == paho.MQTT_ERR_SUCCESS and client.want_write():
        code = client.loop(0.0)
    return recorded.told, recorded.sent(), len(client._out_messages)


SENT = [
    ("a/b", b"{}", 1, False, None), ("a/b", None, 1, True, "application/json"), ("ä/b", b"x" * 200, 0, False, None),
    ("a/b", b"x" * 20_000, 1, True, "application/octet-stream"), ("a/b", bytearray(b"y" * 117), 2, False, "text/plain"),
]  # fmt: skip


def test_messages_leave_as_those_of_paho_do() -> None:
    bytes_of = []
    for kind in (QuickClient, paho.Client):
        with Recorded() as recorded:
            client = connected(recorded, kind)
            for topic, payload, qos, retain, content_type in SENT:
                said = Properties(PacketTypes.PUBLISH)
                if content_type is not None:
                    said.ContentType, said.UserProperty = content_type, ("schema", "1")
                client.publish(topic, payload, qos, retain, None if content_type is None else said)
            while client.want_write():
                client.loop(0.0)
            bytes_of.append(recorded.sent())
    assert len(bytes_of[0]) > 20_000
    assert bytes_of[0] == bytes_of[1]


def _waits(connection: socket.socket) -> bool:
    try:
        return bool(connection.fileno() >= 0 and connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


@pytest.mark.parametrize("size", [1, 3, 50, 100_000])
def test_whatever_comes_in_whatever_pieces_is_told_and_answered_as_by_paho(size: int) -> None:
    told, sent, waiting = run(QuickClient, b"".join(GOOD), size)
    expected, expected_sent, expected_waiting = run(paho.Client, b"".join(GOOD), 100_000)
    assert (told, waiting) == (expected, expected_waiting)
    assert len(told) >= 9
    # acknowledgements may leave before or after what else was to be sent
    assert sorted(sent) == sorted(expected_sent)
    for mid in (7, 8, 9, 10):
        assert b"\x40\x02" + struct.pack(">H", mid) in sent


def test_a_long_message_in_pieces_is_told_once_it_is_whole() -> None:
    stream = publish(b"a/b", bytes(range(256)) * 2000, 7) + publish(b"a/b", b"after")
    told, sent, _ = run(QuickClient, stream, 40_000)
    expected, expected_sent, _ = run(paho.Client, stream, 40_000)
    assert (told, sorted(sent)) == (expected, sorted(expected_sent))
    assert [len(message[1]) for message in told] == [512_000, 5]  # type: ignore[arg-type]


class Raced(deque[Any]):
    """The loop took what was there just after somebody looked, and another thread puts a packet behind each."""

    def __bool__(self) -> bool:
        return True

    def append(self, packet: Any) -> None:
        super().append(packet)
        super().append(dict(packet))


def test_threads_that_put_packets_at_the_same_moment_wake_the_loop() -> None:
    client = QuickClient(CallbackAPIVersion.VERSION2, client_id="c", protocol=paho.MQTTv5)
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        client._sockpairW, client._out_packet = writer, Raced()
        client._packet_queue(0x40, b"\x40\x02\0\1", 1, 1)
        assert reader.recv(1) == b"\0"
        client._sockpairW = None


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_what_no_broker_may_send_ends_a_connection_as_with_paho(bad: bytes) -> None:
    outcomes = []
    for kind in (QuickClient, paho.Client):
        try:
            outcomes.append(run(kind, GOOD[1] + bad + GOOD[0], 100_000)[0])
        except UnicodeDecodeError as error:
            outcomes.append([(str(error),)])
    assert outcomes[0] == outcomes[1]


def test_a_websocket_is_left_to_paho() -> None:
    assert client_class(websocket=True) is paho.Client
    assert client_class(websocket=False) is QuickClient


def test_a_release_of_paho_whose_insides_are_others_is_used_as_it_is() -> None:
    """2.1, as Debian has it: without that module, the errors elsewhere."""
    code = (
        "import sys, paho.mqtt, paho.mqtt.client\n"
        "sys.modules['paho.mqtt.exception'], paho.mqtt.__version__ = None, '2.1.0'\n"
        "from headway.mqtt.quick_client import client_class\n"
        "assert client_class(websocket=False) is paho.mqtt.client.Client\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
