"""Implements `edge-agent renew`: a new key and certificate before the old one ends, tried before they replace it.

The old pair stays in place until the broker has accepted the new one; one rename then replaces both. Killed anywhere,
one that works is in place, and the next call asks for the key that was asked for before.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

from edge_agent.config import read_config
from edge_agent.enrolment.identity import IdentityFiles, write_private
from edge_agent.enrolment.openssl import certificate_request, dates_of, serial_of, signature
from edge_agent.enrolment.server import JoinServer, address
from headway.errors import ConfigError, StoreError, TransportError
from headway.joining import RENEW_PATH, JoinAnswer, RenewRequest
from headway.mqtt import MqttSettings
from headway.mqtt.tls import tls_context
from headway.ports import Clock

DAY_S = 86_400
LAST_PART = 1 / 3


def renew_certificate(config: Path, clock: Clock, *, url: str = "", at_once: bool = False) -> str:
    """Renew in the last third of the certificate's time, or at once; what was done, in words.

    url: where the device joined, if that has moved.
    Raises ConfigError, TransportError, RemoteError, StoreError; the old certificate is then still in place.
    """
    settings, files = read_config(config), IdentityFiles(config)
    mqtt = settings.mqtt
    if mqtt is None or mqtt.cert_file is None or mqtt.cert_file.absolute() != files.identity.absolute():
        raise ConfigError(
            f"{config} does not name {files.identity} as cert_file; only what edge-agent join wrote is renewed"
        )
    begin_s, end_s = dates_of(files.identity)
    left_s = end_s - clock.wall_s()
    if left_s > (end_s - begin_s) * LAST_PART and not at_once:
        return f"the certificate of {settings.device} is good for {left_s / DAY_S:.0f} more days; nothing to do"
    serial = serial_of(files.identity)
    files.make_next_key(f"renews {serial}")
    url = url or files.joined_at()
    host, port = address(url)
    try:
        server = JoinServer(host, port, files.authority.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {files.authority}: {error}") from error
    text = certificate_request(files.next_key, settings.device)
    request = RenewRequest(serial, text, signature(files.identity, text.encode()))
    answer = server.ask(RENEW_PATH, request.encode())
    _replace_once_proven(files, mqtt, answer, url)
    done = f"the certificate of {settings.device} is renewed; the service takes it at its next connection"
    if settings.sync.head_keys == files.head_keys.resolve() and files.write_head_keys(answer):
        done += f"\n{files.head_keys} holds other keys now: systemctl reload edge-agent"
    return done


def _replace_once_proven(files: IdentityFiles, mqtt: MqttSettings, answer: JoinAnswer, url: str) -> None:
    tried = files.identity.with_name("identity.next.pem")
    key = files.made_next_key()
    write_private(tried, key + answer.certificate.encode())
    check_accepted(replace(mqtt, cert_file=tried, key_file=tried))
    files.write_identity(key, answer, url)
    files.next_key.unlink()
    tried.unlink()


def check_accepted(mqtt: MqttSettings) -> None:
    """Raise TransportError unless the broker accepts the certificate.

    Only by a handshake: no MQTT follows, so that the service's own connection, which has the same name, stays.
    """
    context = tls_context(mqtt, checked_in_handshake=True)
    if context is None:
        raise ConfigError("[mqtt] has no tls")
    try:
        with socket.create_connection((mqtt.host, mqtt.port), mqtt.connect_timeout_s) as plain:
            context.wrap_socket(plain, server_hostname=mqtt.host).close()
    except OSError as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise TransportError(
            f"the broker {mqtt.host}:{mqtt.port} does not accept the new certificate ({reason}); the old one stays"
        ) from error
