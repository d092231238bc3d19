"""A connection of which the broker hears that a message has come only when its owner says so.

Until then the broker holds back what exceeds the window (`receive_max`), and gives what was not confirmed to others
when the connection ends, if it is a broker that does: MQTT 5 allows that for shared subscriptions, mosquitto drops it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from headway.mqtt.settings import MqttSettings
from headway.mqtt.transport import MqttTransport
from headway.ports import Received, TransportEvent

# of a token: the connection above, the broker's number of the message below
CONNECTION = 1 << 16


class HandedTransport(MqttTransport):
    """Messages come with a `token` for `confirm`. The session ends with the connection: a worker that is gone must not
    be given messages that others could take."""

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        subscriptions: tuple[str, ...],
        on_event: Callable[[TransportEvent], None],
    ) -> None:
        # number and client of the newest one, in one step: they are read by another thread
        self._newest: tuple[int, Any] = 0, None
        super().__init__(replace(settings, session_expiry_s=0), client_id, subscriptions, None, on_event)

    def confirm(self, message: Received) -> None:
        """The broker may forget it. Of an earlier connection it has done so; from any thread."""
        connection, number = divmod(message.token, CONNECTION)
        newest, client = self._newest
        if number and connection == newest:
            client.ack(number, 1)

    def _build_client(self, tls: ssl.SSLContext | None, password: str | None) -> Any:
        client = super()._build_client(tls, password)
        client.manual_ack_set(True)
        self._newest = self._newest[0] + 1, client
        return client

    def _on_message(self, client: Any, _: Any, message: Any) -> None:
        # one of QoS 0 has no number, and nobody waits to hear of it
        token = self._newest[0] * CONNECTION + message.mid
        self._on_event(Received(message.topic, bytes(message.payload), bool(message.retain), {}, token))
