"""MQTT 5 through paho: the one file that imports it.

paho's own queue is never trusted with the only copy of anything: a publish without a connection is refused here,
and what must not be lost waits in the caller's store until the *peer's* ack. Callbacks only hand events over.
"""

from __future__ import annotations

import random
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from headway.errors import ConfigError
from headway.fields import Fields
from headway.ports import Connected, Delivered, Disconnected, Outgoing, Received, TransportEvent

LOOP_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """How to reach the broker: the ``[mqtt]`` table of the programs' configuration."""

    host: str = "localhost"
    port: int = 1883
    username: str = ""
    password_file: str = ""
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    keepalive_s: int = 60
    session_expiry_s: int = 7 * 86_400
    receive_max: int = 20
    packet_bytes_max: int = 160 * 1024
    reconnect_min_s: float = 0.5
    reconnect_max_s: float = 120.0
    connect_timeout_s: float = 10.0

    @classmethod
    def read(cls, fields: Fields, default: MqttSettings | None = None) -> MqttSettings:
        """Read the table; what it leaves out comes from `default`."""
        default = default or cls()
        settings = cls(
            host=fields.text("host", default.host),
            port=fields.integer("port", default.port, low=1, high=65_535),
            username=fields.text("username", default.username),
            password_file=fields.text("password_file", default.password_file, length_max=4096),
            tls=fields.boolean("tls", default.tls),
            ca_file=fields.text("ca_file", default.ca_file, length_max=4096),
            cert_file=fields.text("cert_file", default.cert_file, length_max=4096),
            key_file=fields.text("key_file", default.key_file, length_max=4096),
            keepalive_s=fields.integer("keepalive_s", default.keepalive_s, low=5, high=65_535),
            session_expiry_s=fields.integer("session_expiry_s", default.session_expiry_s, high=2**32 - 1),
            receive_max=fields.integer("receive_max", default.receive_max, low=1, high=65_535),
            packet_bytes_max=fields.integer("packet_bytes_max", default.packet_bytes_max, low=4096, high=2**28),
            reconnect_min_s=fields.number("reconnect_min_s", default.reconnect_min_s, low=0.05, high=3600),
            reconnect_max_s=fields.number("reconnect_max_s", default.reconnect_max_s, low=0.05, high=86_400),
            connect_timeout_s=fields.number("connect_timeout_s", default.connect_timeout_s, low=0.1, high=300),
        )
        fields.finish()
        if settings.reconnect_max_s < settings.reconnect_min_s:
            raise ConfigError(f"reconnect_max_s {settings.reconnect_max_s} is below reconnect_min_s")
        if settings.cert_file and not settings.key_file:
            raise ConfigError("cert_file needs key_file beside it")
        return settings


class MqttTransport:
    """One persistent MQTT 5 session. `on_event` is called from paho's thread and must only enqueue."""

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        subscriptions: tuple[str, ...],
        will: Outgoing,
        on_event: Callable[[TransportEvent], None],
    ) -> None:
        self._settings = settings
        self._subscriptions = subscriptions
        self._on_event = on_event
        self._stopping = threading.Event()
        self._connected = threading.Event()
        self._accepted = False
        self._thread: threading.Thread | None = None
        self._client = self._build_client(client_id, will)

    def start(self) -> None:
        """Start the network thread. Connection failures arrive as `Disconnected` events; it never gives up."""
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    def publish(self, message: Outgoing) -> int | None:
        """Publish now, or return None without a connection; nothing is queued behind the caller's back."""
        if not self._connected.is_set():
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ContentType = message.content_type
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain, properties)
        return info.mid if info.rc == paho.MQTT_ERR_SUCCESS else None

    def stop(self) -> None:
        """Disconnect cleanly (the last will is not sent) and join the network thread."""
        self._stopping.set()
        self._client.disconnect()
        if self._thread is not None:
            self._thread.join(timeout=self._settings.connect_timeout_s + 1)

    def _run(self) -> None:
        """Connect, serve, and after each loss wait a random time up to a doubling bound (full jitter)."""
        settings = self._settings
        bound_s = settings.reconnect_min_s
        connect_properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        connect_properties.SessionExpiryInterval = settings.session_expiry_s
        connect_properties.ReceiveMaximum = settings.receive_max
        connect_properties.MaximumPacketSize = settings.packet_bytes_max
        while not self._stopping.is_set():
            self._accepted = False
            try:
                self._client.connect(
                    settings.host,
                    settings.port,
                    settings.keepalive_s,
                    clean_start=False,
                    properties=connect_properties,
                )
                self._serve_connection()
            except (OSError, ValueError) as error:
                self._on_event(Disconnected(f"{settings.host}:{settings.port}: {error}"))
            self._connected.clear()
            bound_s = settings.reconnect_min_s if self._accepted else min(bound_s * 2, settings.reconnect_max_s)
            self._stopping.wait(random.uniform(0, bound_s))

    def _serve_connection(self) -> None:
        """Move packets until the connection ends. Unlike `loop_forever`, `loop` is woken by a publish at once."""
        while self._client.loop(LOOP_TIMEOUT_S) == paho.MQTT_ERR_SUCCESS:
            pass

    def _build_client(self, client_id: str, will: Outgoing) -> paho.Client:
        settings = self._settings
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = settings.connect_timeout_s
        client.max_inflight_messages_set(settings.receive_max)
        client.max_queued_messages_set(4 * settings.receive_max)
        client.will_set(will.topic, will.payload, will.qos, will.retain)
        if settings.username:
            client.username_pw_set(settings.username, _secret(settings.password_file))
        if settings.tls:
            context = ssl.create_default_context(cafile=settings.ca_file or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if settings.cert_file:
                context.load_cert_chain(settings.cert_file, settings.key_file)
            client.tls_set_context(context)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        # Without this paho writes to the socket from whichever thread publishes, unlocked beside its own loop: two
        # packets can interleave. With a callback set it leaves writing to the loop, which it wakes by itself.
        client.on_socket_register_write = _leave_writing_to_the_loop
        client.on_socket_open = _send_at_once
        return client

    def _on_connect(self, client: paho.Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._on_event(Disconnected(f"broker refused the connection: {reason}"))
            return
        client.subscribe([(filter_, SubscribeOptions(qos=1)) for filter_ in self._subscriptions])
        self._accepted = True
        self._connected.set()
        self._on_event(Connected(bool(flags.session_present)))

    def _on_disconnect(self, client: Any, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._connected.clear()
        self._on_event(Disconnected(str(reason)))

    def _on_message(self, client: Any, _: Any, message: paho.MQTTMessage) -> None:
        self._on_event(Received(message.topic, bytes(message.payload), bool(message.retain)))

    def _on_publish(self, client: Any, _: Any, token: int, reason: Any, properties: Any) -> None:
        self._on_event(Delivered(token, str(reason), bool(reason.is_failure)))


def _leave_writing_to_the_loop(client: paho.Client, _: Any, connection: Any) -> None:
    pass


def _send_at_once(client: paho.Client, _: Any, connection: Any) -> None:
    """Small packets wait 40 ms for each other otherwise (Nagle's algorithm against delayed acknowledgements)."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _secret(path: str) -> str | None:
    """The broker password, from a file so that it never shows in a process list or a log."""
    if not path:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError as error:
        raise ConfigError(f"password_file {path}: {error.strerror or error}") from error
