"""Connects to the broker: MQTT 5 through paho, which this module and `quick_client` alone import.

paho's own queue is never trusted with the only copy of anything: a publish without a connection is refused here,
every connection begins with a new, empty client, and what must not be lost waits in the caller's store until the
*peer's* ack. Callbacks only hand events over. What each reason code makes us do stands in headway/mqtt/reason_codes.py.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from headway.errors import ConfigError
from headway.mqtt.backoff import FullJitter
from headway.mqtt.failures import UNANSWERED, connection_failure
from headway.mqtt.quick_client import client_class
from headway.mqtt.reason_codes import reason_of
from headway.mqtt.settings import MqttSettings
from headway.mqtt.sockets import leave_writing_to_the_loop, send_at_once
from headway.mqtt.takeover import SilentClosings
from headway.mqtt.tls import tls_context
from headway.ports import (
    Clock,
    Connected,
    Delivered,
    Disconnected,
    NotSubscribed,
    Outgoing,
    Received,
    Response,
    SystemClock,
    TransportEvent,
)

log = logging.getLogger("headway.mqtt")

LOOP_TIMEOUT_S = 1.0
# for the goodbye; a thread that still tries to connect ends by itself
STOP_S = 3.0
SCHEMA_PROPERTY = ("schema", "1")
PACKET_OVERHEAD_BYTES = 256
# of messages that the broker has not acknowledged yet
TOPICS_REMEMBERED_MAX = 256
# in one packet; AWS IoT Core takes no more
SUBSCRIPTIONS_TOGETHER = 8
PACKET_TOO_LARGE, RETAIN_NOT_SUPPORTED, QOS_NOT_SUPPORTED = 149, 154, 155
ACCESS_REFUSED, INVALID_CLIENT_ID, SESSION_TAKEN_OVER = (134, 135), 133, 142
MOVES_MAX = 4


@dataclass(frozen=True, slots=True)
class _Limits:
    """What the broker said in its CONNACK that it can take."""

    receive_max: int
    packet_bytes_max: int = 2**28
    retain: bool = True


class MqttTransport:
    """One persistent MQTT 5 session. `on_event` is called from the network thread and must only enqueue."""

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        subscriptions: tuple[str, ...],
        will: Outgoing | None,
        on_event: Callable[[TransportEvent], None],
        clock: Clock | None = None,
    ) -> None:
        self._settings, self._client_id = settings, client_id
        self._subscriptions, self._will, self._on_event = subscriptions, will, on_event
        self._clock = clock or SystemClock()
        self._address = (settings.host, settings.port)
        self._limits = _Limits(settings.receive_max)
        self._jitter = FullJitter(settings.reconnect_min_s, settings.reconnect_max_s, settings.reconnect_spread_s)
        self._stopping, self._connected = threading.Event(), threading.Event()
        self._accepted_at_s: float | None = None
        self._response, self._moves = Response.RETRY, 0
        self._reported = self._contested = False
        self._closings = SilentClosings()
        self._quiet_until_s = float("-inf")
        self._topics: OrderedDict[int, str] = OrderedDict()
        self._asked: deque[tuple[str, ...]] = deque()
        self._thread: threading.Thread | None = None
        self._client = self._build_client(None, None)

    def start(self) -> None:
        """Start the network thread. Connection failures arrive as `Disconnected` events; it never gives up."""
        for path in self._settings.readable_by_everybody():
            log.warning("%s can be read by everybody on this machine; chmod 640 it, or hide its folder", path)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    def publish(self, message: Outgoing) -> int | None:
        """Publish now, or return None without a connection; nothing is queued behind the caller's back.

        A message that the broker has said it cannot take is refused here, as the broker would have done.
        """
        if not self._connected.is_set() or self._clock.monotonic_s() < self._quiet_until_s:
            return None
        limits, size = self._limits, len(message.payload) + len(message.topic.encode()) + PACKET_OVERHEAD_BYTES
        if size > limits.packet_bytes_max:
            reason = f"{size} bytes, the broker takes {limits.packet_bytes_max}: {reason_of(PACKET_TOO_LARGE)}"
            self._on_event(Delivered(0, reason, True, message.topic))
            return None
        retain = message.retain and limits.retain
        info = self._client.publish(
            message.topic, message.payload, message.qos, retain, _properties(message.content_type)
        )
        if info.rc != paho.MQTT_ERR_SUCCESS:
            return None
        self._topics[info.mid] = message.topic
        while len(self._topics) > TOPICS_REMEMBERED_MAX:
            self._topics.popitem(last=False)
        return info.mid

    def stop(self) -> None:
        """Disconnect cleanly (the last will is not sent) and give the network thread a moment to end."""
        self._stopping.set()
        self._client.disconnect()
        if self._thread is not None:
            self._thread.join(timeout=STOP_S)

    def _run(self) -> None:
        """Connect, serve, and after each loss wait a random time (headway/mqtt/backoff.py)."""
        settings = self._settings
        while not self._stopping.is_set():
            self._accepted_at_s, self._response, self._reported = None, Response.RETRY, False
            self._contested = False
            try:
                # read anew each time: a password that was changed, or a certificate renewed, needs no restart
                self._client = self._build_client(tls_context(settings), settings.password())
                self._client.connect(
                    *self._address,
                    settings.keepalive_s,
                    clean_start=False,
                    properties=self._connect_properties(),
                )
                self._serve_connection()
            except ConfigError as error:
                self._lost(str(error), Response.PERSON)
            except (OSError, ValueError) as error:
                self._lost(*connection_failure(error, settings, self._clock.wall_s()))
            except Exception as error:
                # a fault of ours must not end the thread in silence: the device would stay offline for ever
                log.debug("in the network thread", exc_info=True)
                self._lost(f"unexpected {type(error).__name__}: {error}; please report it", Response.SLOW)
            self._connected.clear()
            if self._response is Response.MOVE:
                continue
            began_s = self._accepted_at_s
            if began_s is None:
                self._address = (settings.host, settings.port)
                self._closings.clear()
            worked_s = None if began_s is None or self._contested else self._clock.monotonic_s() - began_s
            self._stopping.wait(self._jitter.wait_s(self._response, worked_s))

    def _serve_connection(self) -> None:
        """Move packets until the connection ends. Unlike `loop_forever`, `loop` is woken by a publish at once."""
        client, timeout_s = self._client, self._settings.connect_timeout_s
        deadline_s = self._clock.monotonic_s() + timeout_s
        while client.loop(LOOP_TIMEOUT_S) == paho.MQTT_ERR_SUCCESS:
            if self._stopping.is_set():
                client.disconnect()
            if self._accepted_at_s is None and not self._reported and self._clock.monotonic_s() > deadline_s:
                raise TimeoutError(f"connected, but no MQTT answer within {timeout_s:g} s")

    def _build_client(self, tls: ssl.SSLContext | None, password: str | None) -> paho.Client:
        settings, will = self._settings, self._will
        client = client_class(bool(settings.websocket_path))(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
            transport="websockets" if settings.websocket_path else "tcp",
        )
        client.connect_timeout = settings.connect_timeout_s
        client.max_inflight_messages_set(self._limits.receive_max)
        client.max_queued_messages_set(4 * settings.receive_max)
        if will is not None:
            client.will_set(
                will.topic, will.payload, will.qos, will.retain, _properties(will.content_type, PacketTypes.WILLMESSAGE)
            )
        if settings.username:
            client.username_pw_set(settings.username, password)
        if tls is not None:
            client.tls_set_context(tls)
        if settings.websocket_path:
            client.ws_set_options(path=settings.websocket_path)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_socket_register_write = leave_writing_to_the_loop
        client.on_socket_open = send_at_once
        return client

    def _connect_properties(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._settings.session_expiry_s
        properties.ReceiveMaximum = self._settings.receive_max
        properties.MaximumPacketSize = self._settings.packet_bytes_max
        return properties

    def _on_connect(self, client: paho.Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refused("broker refused the connection", reason.value, properties)
            return
        if getattr(properties, "MaximumQoS", 1) < 1:
            self._refused("broker cannot serve us", QOS_NOT_SUPPORTED, properties)
            client.disconnect()
            return
        receive_max = min(self._settings.receive_max, getattr(properties, "ReceiveMaximum", 65_535))
        if receive_max < self._limits.receive_max:
            # paho fixes its window when a connection is made; this broker takes less, so make it once more
            self._limits = replace(self._limits, receive_max=receive_max)
            self._response, self._reported = Response.MOVE, True
            client.disconnect()
            return
        packet_bytes_max = getattr(properties, "MaximumPacketSize", 2**28)
        self._limits = _Limits(receive_max, packet_bytes_max, bool(getattr(properties, "RetainAvailable", 1)))
        wanted, size = self._subscriptions, SUBSCRIPTIONS_TOGETHER
        self._asked = deque(wanted[start : start + size] for start in range(0, len(wanted), size))
        for filters in self._asked:
            client.subscribe([(filter_, SubscribeOptions(qos=1)) for filter_ in filters])
        self._accepted_at_s, self._moves = self._clock.monotonic_s(), 0
        if not flags.session_present:
            self._closings.clear()
        self._connected.set()
        self._on_event(Connected(bool(flags.session_present)))
        if not self._limits.retain:
            self._on_event(Delivered(0, str(reason_of(RETAIN_NOT_SUPPORTED)), True, "retained messages"))

    def _on_disconnect(self, client: Any, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._reported:
            return
        if flags.is_disconnect_packet_from_server:
            self._refused("broker ended the connection", reason.value, properties)
        else:
            self._closed("connection lost" if reason.is_failure else "disconnected")

    def _closed(self, line: str) -> None:
        """The connection ended without a word of the broker's (headway/mqtt/takeover.py)."""
        if self._accepted_at_s is None:
            self._lost(f"{line} {UNANSWERED}", Response.RETRY)
        elif sign := self._closings.add(self._clock.monotonic_s()):
            taken_over = reason_of(SESSION_TAKEN_OVER)
            line += f": {sign}; {taken_over.advice}{self._own(SESSION_TAKEN_OVER)}"
            # the wait doubles, however long connections last: two clients must not fight at full speed
            self._contested = True
            self._lost(line, Response.RETRY, SESSION_TAKEN_OVER)
        else:
            self._lost(line, Response.RETRY)

    def _refused(self, what: str, code: int, properties: Any) -> None:
        """The broker told us to go, and why."""
        reason = reason_of(code)
        server = str(getattr(properties, "ServerReference", ""))
        detail = " ".join(str(getattr(properties, "ReasonString", "")).split())[:200]
        line = f"{what}: {reason}{self._own(code)}"
        line += f" ({detail})" if detail else ""
        line += f"; it names {server[:200]}" if server else ""
        response = reason.response
        if response is Response.MOVE and not self._moves_to(server):
            response = Response.PERSON
        self._lost(line, response, code)

    def _own(self, code: int) -> str:
        """What of our own settings the broker means."""
        settings = self._settings
        if code in ACCESS_REFUSED and self._accepted_at_s is None:
            file = settings.password_file
            read = "" if file is None else f" in {file.absolute()}, which is read again at each attempt"
            return f"; first of all username {settings.username!r} and its password{read}"
        return f" (client id {self._client_id})" if code in (INVALID_CLIENT_ID, SESSION_TAKEN_OVER) else ""

    def _moves_to(self, server: str) -> bool:
        """Take up the first server of a reference such as ``host:8883 other:8883`` (standard, 4.11), if allowed."""
        host, _, port = server.split(" ")[0].rpartition(":") if server else ("", "", "")
        if not self._settings.follow_redirects or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            return False
        self._moves += 1
        if self._moves > MOVES_MAX:  # servers that send us round in circles
            return False
        self._address = (host.strip("[]"), int(port))
        return True

    def _lost(self, reason: str, response: Response, code: int = 0) -> None:
        self._connected.clear()
        self._response, self._reported = response, True
        self._on_event(Disconnected(f"{self._address[0]}:{self._address[1]}: {reason}", response, code))

    def _on_message(self, client: Any, _: Any, message: paho.MQTTMessage) -> None:
        given = message.properties
        properties = dict(getattr(given, "UserProperty", ()))
        content_type = getattr(given, "ContentType", None)
        if content_type is not None:
            properties["content_type"] = content_type
        self._on_event(Received(message.topic, bytes(message.payload), bool(message.retain), properties))

    def _on_publish(self, client: Any, _: Any, token: int, reason: Any, properties: Any) -> None:
        topic = self._topics.pop(token, "")
        if not reason.is_failure:
            self._on_event(Delivered(token, str(reason), False))
            return
        known = reason_of(reason.value)
        if known.response is Response.SLOW:
            self._quiet_until_s = self._clock.monotonic_s() + self._jitter.wait_s(known.response, None)
        self._on_event(Delivered(token, str(known), True, topic))

    def _on_subscribe(self, client: Any, _: Any, token: int, reasons: Any, properties: Any) -> None:
        filters = self._asked.popleft() if self._asked else ()  # answered in the order of what was asked
        for filter_, reason in zip(filters, reasons, strict=False):
            if reason.is_failure:
                self._on_event(NotSubscribed(filter_, str(reason_of(reason.value))))


def check_files(settings: MqttSettings) -> None:
    """Read password and certificates once, for a program that is of no use without them. Raises ConfigError."""
    settings.password()
    tls_context(settings)


@lru_cache(16)
def _properties(content_type: str, packet: int = PacketTypes.PUBLISH) -> Properties:
    """Made once for each: paho only reads them."""
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    properties.ContentType = content_type
    properties.UserProperty = SCHEMA_PROPERTY
    return properties
