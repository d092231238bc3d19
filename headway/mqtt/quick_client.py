"""paho's client, which moves many packets with one call of the socket.

paho reads each packet with four calls or more, waits for the next one with another, and writes every acknowledgement by
itself: a fifth of a millisecond for a message that is answered. Here what has come is read at once, the usual packets
(PUBLISH, PUBACK) are taken apart in place, a message is put together at once, and what waits to be sent leaves
together. Every other packet, the states of connections and messages, and all callbacks are paho's own.

It leans on what paho keeps to itself, so it is used with the releases that it was written for (`client_class`).
"""

from __future__ import annotations

import struct
from contextlib import suppress
from functools import lru_cache
from typing import Any, cast

import paho.mqtt.client as paho
from paho.mqtt import __version__ as PAHO_VERSION
from paho.mqtt.enums import MessageType, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes

# 2.2 has the two errors in a module of their own, 2.1 here alone
from paho.mqtt.properties import MalformedPacket, MQTTException, Properties  # type: ignore[attr-defined]
from paho.mqtt.reasoncodes import ReasonCode

WRITTEN_FOR = "2.2."
# what reading properties and topics raises; paho then says what is wrong
UNREADABLE = (MQTTException, struct.error, IndexError, KeyError, ValueError)
READ_BYTES = 1 << 16
# of packets that leave together
JOINED_BYTES_MAX = 1 << 18
# of a packet's length (MQTT 5, 1.5.5)
LENGTH_BYTES_MAX = 4
SUCCESS, PROTOCOL = MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_PROTOCOL
NO_MATCHING_SUBSCRIBERS = 0x10
TAKEN = {
    b"": ReasonCode(PacketTypes.PUBACK),
    bytes([NO_MATCHING_SUBSCRIBERS]): ReasonCode(PacketTypes.PUBACK, identifier=NO_MATCHING_SUBSCRIBERS),
}


class Arrived:
    """A message as the callback has it, with what is read of `paho.MQTTMessage`."""

    __slots__ = ("mid", "payload", "properties", "qos", "retain", "topic")

    def __init__(self, topic: str, payload: bytes, qos: int, retain: bool, mid: int, properties: Properties) -> None:
        self.topic, self.payload, self.qos, self.retain = topic, payload, qos, retain
        self.mid, self.properties = mid, properties


class QuickClient(paho.Client):
    """MQTT 5 over a socket of TCP or TLS. Properties of messages that come, and of those that are published, are
    shared by many: they are read, not changed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._came = bytearray()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Take in everything that has come."""
        if self._sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        try:
            content = self._sock_recv(READ_BYTES)
        except BlockingIOError:
            return SUCCESS
        except OSError:
            content = b""
        if not content:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        with self._msgtime_mutex:
            self._last_bytes_received = paho.time_func()
        self._came += content
        # all of a long packet that is still coming is not copied each time
        code = self._take_packets() if _span(self._came, 0)[1] <= len(self._came) else SUCCESS
        return self._loop_rc_handle(code) if code > 0 else SUCCESS

    def _take_packets(self) -> MQTTErrorCode:
        """Every whole packet that has come; the beginning of another one stays."""
        content, at, acks = bytes(self._came), 0, bytearray()
        code = SUCCESS
        while code <= 0 and self._sock is not None:
            start, end = _span(content, at)
            if not start <= end <= len(content):
                break
            if not start:
                code = PROTOCOL
                break
            command, at, body = content[at], end, content[start:end]
            if not (self._take_message(command, body, acks) or self._take_ack(command, body)):
                code = self._by_paho(command, body)
        del self._came[:at]
        if acks and self._sock is not None:
            self._packet_queue(MessageType.PUBACK, bytes(acks), 0, 1)
        return code

    def _take_message(self, command: int, body: bytes, acks: bytearray) -> bool:
        """A PUBLISH of QoS 0 or 1; False for anything else, and for what paho is to judge."""
        qos = command >> 1 & 3
        if command & 0xF0 != MessageType.PUBLISH or qos > 1 or len(body) < 2:
            return False
        end = 2 + int.from_bytes(body[:2], "big")
        start = end + 2 * qos
        if end == 2 or len(body) <= start or body[start] > 127:
            return False
        try:
            properties = _properties(body[start : start + 1 + body[start]])
            topic = body[2:end].decode()
        except UNREADABLE:
            return False
        mid = body[end : end + 2 * qos]
        message = Arrived(
            topic, body[start + 1 + body[start] :], qos, bool(command & 1), int.from_bytes(mid, "big"), properties
        )
        with self._in_callback_mutex:
            cast(Any, self.on_message)(self, self._userdata, message)
        if qos and not self._manual_ack:
            acks += b"\x40\x02" + mid
        return True

    def _take_ack(self, command: int, body: bytes) -> bool:
        """A PUBACK that says nothing else; False for anything else."""
        reason = TAKEN.get(body[2:])
        if command != MessageType.PUBACK or len(body) < 2 or reason is None:
            return False
        mid = int.from_bytes(body[:2], "big")
        with self._out_message_mutex:
            if mid in self._out_messages:
                with self._in_callback_mutex:
                    cast(Any, self.on_publish)(self, self._userdata, mid, reason, None)
                self._out_messages.pop(mid).info._set_as_published()
                self._inflight_messages -= 1
                # paho looks through all of them for one that waits
                if len(self._out_messages) > self._inflight_messages:
                    self._update_inflight()
        return True

    def _by_paho(self, command: int, body: bytes) -> MQTTErrorCode:
        self._in_packet = {
            "command": command,
            "have_remaining": 1,
            "remaining_count": [],
            "remaining_mult": 1,
            "remaining_length": len(body),
            "packet": bytearray(body),
            "to_process": 0,
            "pos": 0,
        }
        try:
            return self._packet_handle()
        except MalformedPacket:
            return PROTOCOL

    def _send_publish(
        self,
        mid: int,
        topic: bytes,
        payload: bytes | bytearray = b"",
        qos: int = 0,
        retain: bool = False,
        dup: bool = False,
        info: Any = None,
        properties: Properties | None = None,
    ) -> MQTTErrorCode:
        """A message on its way, its bytes put together at once."""
        if self._sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        said = b"\0" if properties is None else _packed(properties)
        numbered = mid.to_bytes(2, "big") if qos else b""
        length = _length(2 + len(topic) + len(numbered) + len(said) + len(payload))
        command = MessageType.PUBLISH | dup << 3 | qos << 1 | retain
        parts = (bytes((command,)), length, len(topic).to_bytes(2, "big"), topic, numbered, said, payload)
        return self._packet_queue(MessageType.PUBLISH, b"".join(parts), mid, qos, info)

    def _packet_queue(self, command: Any, packet: Any, mid: int, qos: int, info: Any = None) -> MQTTErrorCode:
        if not self._out_packet:
            return super()._packet_queue(command, packet, mid, qos, info)
        waits = _out_packet(command, packet, mid, qos, info)
        self._out_packet.append(waits)
        # whoever put the first one wakes the loop, which takes all; it may have taken this one by now
        with suppress(BlockingIOError, IndexError):
            if self._out_packet[0] is waits and self._sockpairW is not None:
                self._sockpairW.send(b"\0")
        return SUCCESS

    def _packet_write(self) -> MQTTErrorCode:
        self._join_packets()
        return super()._packet_write()

    def _join_packets(self) -> None:
        """Make one of the packets that wait, but for one that is half written and for those after which more is done
        than to send them."""
        waiting, some, size = self._out_packet, list[Any](), 0
        begun = waiting.popleft() if waiting and waiting[0]["pos"] else None
        while waiting and size < JOINED_BYTES_MAX and not _ends_with_more(waiting[0]):
            some.append(waiting.popleft()["packet"])
            size += len(some[-1])
        if some:
            waiting.appendleft(_out_packet(MessageType.PUBACK, b"".join(some), 0, 1))
        if begun is not None:
            waiting.appendleft(begun)


def client_class(websocket: bool) -> type[paho.Client]:
    """The client for a connection."""
    return paho.Client if websocket or not PAHO_VERSION.startswith(WRITTEN_FOR) else QuickClient


def _span(content: bytes | bytearray, at: int) -> tuple[int, int]:
    """Where the body of the packet at `at` begins and ends, perhaps after what has come. (0, 0) for a length that is
    none."""
    length = 0
    for index in range(1, LENGTH_BYTES_MAX + 1):
        if at + index >= len(content):
            return len(content), len(content) + 1
        byte = content[at + index]
        length |= (byte & 127) << 7 * (index - 1)
        if byte < 128:
            return at + index + 1, at + index + 1 + length
    return 0, 0


def _out_packet(command: int, packet: bytes, mid: int, qos: int, info: Any = None) -> Any:
    return {
        "command": command, "mid": mid, "qos": qos, "pos": 0, "to_process": len(packet), "packet": packet, "info": info
    }  # fmt: skip


def _ends_with_more(packet: Any) -> bool:
    command = packet["command"] & 0xF0
    return bool(command == MessageType.DISCONNECT or (command == MessageType.PUBLISH and packet["qos"] == 0))


@lru_cache(256)
def _length(value: int) -> bytes:
    """Of a packet, as it is written in it."""
    packed = bytearray()
    while value > 127:
        packed.append(value & 127 | 128)
        value >>= 7
    packed.append(value)
    return bytes(packed)


@lru_cache(64)
def _packed(properties: Properties) -> bytes:
    """Of messages that are published: those of one kind have the same, so it is looked at once."""
    return bytes(properties.pack())  # type: ignore[no-untyped-call]


@lru_cache(256)
def _properties(content: bytes) -> Properties:
    """Of a message; of most messages they are those of the one before. Raises what paho raises."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.unpack(content)  # type: ignore[no-untyped-call]
    return properties
