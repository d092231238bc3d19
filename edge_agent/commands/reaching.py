"""Whether a broker answers: a handshake and no more, for ``edge-agent doctor``."""

from __future__ import annotations

import socket

from headway.errors import TransportError
from headway.mqtt import MqttSettings
from headway.mqtt.failures import connection_failure
from headway.mqtt.tls import tls_context
from headway.ports import Clock

# a broker that has not answered by then is of no use to a device, either
BROKER_S_MAX = 5.0


def broker_answers(mqtt: MqttSettings, clock: Clock) -> str:
    """In words. Raises ConfigError, TransportError."""
    mqtt.password()
    context, where = tls_context(mqtt), f"{mqtt.host}:{mqtt.port}"
    try:
        with socket.create_connection((mqtt.host, mqtt.port), min(mqtt.connect_timeout_s, BROKER_S_MAX)) as plain:
            if context is not None:
                context.wrap_socket(plain, server_hostname=mqtt.host).close()
    except (OSError, ValueError) as error:
        words, _ = connection_failure(error, mqtt, clock.wall_s())
        # the name of what is wrong may be all that there is
        advice = "" if "; " in words else f"; check host and port, and the way to {where}"
        raise TransportError(f"{where}: {words}{advice}") from error
    return f"{where} answers{'' if context is None else ', its certificate is accepted'}"
