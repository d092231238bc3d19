"""Makes the broker forget a revoked device: its next connection is refused, and the one it has is ended.

mosquitto checks the list of revoked certificates when a client connects, never again (docs/adr/0039-revocation.md). So
the list is renewed; a certificate made for it, listed as revoked, shows when the broker has read it; then a client with
the device's own name takes over, and thereby ends, its session.
"""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from aggregator.enrolment.authority import Authority, Issued, Role
from headway.errors import TransportError
from headway.mqtt import MqttSettings
from headway.mqtt.tls import tls_context
from headway.ports import Clock

RELOAD_TIMEOUT_S = 10.0
READ_WITHIN_S = 5.0
TRY_AGAIN_S = 0.05
PROBE_NAME = "_revoked"
# MQTT 5, section 3.1.4: Success
SUCCESS = 0
REVOKED_ALERTS = ("CERTIFICATE_REVOKED", "UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN")


def shut_out(
    device: str,
    mqtt: MqttSettings,
    authority: Authority,
    write_list: Callable[[Sequence[Issued]], None],
    reload: Sequence[str],
    clock: Clock,
) -> None:
    """Bring the broker to refuse what is revoked, and end the device's session, its will and its waiting messages.

    write_list: puts the list where the broker reads it, with further certificates beside the revoked ones. mqtt: how
    the aggregator reaches the broker. Raises TransportError when the broker did not follow within 5 s.
    """
    probe_key, probe = authority.issue_with_key(PROBE_NAME, Role.CLIENT, clock.wall_s(), 1)
    write_list([probe])
    if reload:
        _run(reload)
    with tempfile.TemporaryDirectory(prefix="headway-revoke-") as scratch:
        deadline_s = clock.monotonic_s() + READ_WITHIN_S
        mine = Path(scratch) / "probe.pem"
        _write_private(mine, probe_key + probe.pem)
        while not _refused(mqtt, mine):
            if clock.monotonic_s() > deadline_s:
                raise TransportError(
                    f"{device} is revoked, but the broker {mqtt.host}:{mqtt.port} has not read the new list within "
                    f"{READ_WITHIN_S:g} s; reload it (broker_reload in [enrolment]), then revoke again"
                )
            time.sleep(TRY_AGAIN_S)
        key, issued = authority.issue_with_key(device, Role.CLIENT, clock.wall_s(), 1)
        closer = Path(scratch) / "closer.pem"
        _write_private(closer, key + issued.pem)
        _take_over(device, mqtt, closer)


def _refused(mqtt: MqttSettings, identity: Path) -> bool:
    """Whether the broker refuses a certificate, while it answers at all."""
    try:
        _connected(mqtt, _context(mqtt, identity, checked_in_handshake=True)).close()
    except ssl.SSLError as error:
        if any(alert in str(error.reason).upper() for alert in REVOKED_ALERTS):
            return True
        raise TransportError(f"the broker {mqtt.host}:{mqtt.port}: {error.reason or error}") from error
    return False


def _take_over(device: str, mqtt: MqttSettings, identity: Path) -> None:
    """Connect under the device's name with a clean session, wait for the broker's word, and leave."""
    with _connected(mqtt, _context(mqtt, identity)) as connection:
        name = device.encode()
        body = struct.pack(">H4sBBHBH", 4, b"MQTT", 5, 2, 30, 0, len(name)) + name
        try:
            connection.sendall(bytes([0x10, len(body)]) + body)
            answer = connection.recv(4)
            connection.sendall(b"\xe0\x00")
        except OSError as error:
            raise TransportError(f"the broker ended the connection that was to end {device}'s: {error}") from error
    if len(answer) < 4 or answer[0] != 0x20 or answer[3] != SUCCESS:
        raise TransportError(
            f"the broker refused the connection that was to end {device}'s: {answer.hex() or 'closed'}"
        )


def _context(mqtt: MqttSettings, identity: Path, *, checked_in_handshake: bool = False) -> ssl.SSLContext:
    settings = replace(mqtt, cert_file=identity, key_file=identity)
    context = tls_context(settings, checked_in_handshake=checked_in_handshake)
    if context is None:
        raise TransportError("[mqtt] has no tls; without it certificates, and their revocation, mean nothing")
    return context


def _connected(mqtt: MqttSettings, context: ssl.SSLContext) -> ssl.SSLSocket:
    try:
        plain = socket.create_connection((mqtt.host, mqtt.port), mqtt.connect_timeout_s)
    except OSError as error:
        raise TransportError(f"cannot reach the broker {mqtt.host}:{mqtt.port}: {error.strerror or error}") from error
    try:
        return context.wrap_socket(plain, server_hostname=mqtt.host)
    except ssl.SSLError:
        plain.close()
        raise
    except OSError as error:
        plain.close()
        raise TransportError(f"the broker {mqtt.host}:{mqtt.port} ended the handshake: {error}") from error


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, errors="replace", timeout=RELOAD_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TransportError(
            f"broker_reload, {' '.join(command)!r}: {getattr(error, 'strerror', None) or error}"
        ) from error
    if done.returncode:
        said = " ".join(done.stderr.split())[:200]
        raise TransportError(f"broker_reload, {' '.join(command)!r}, left with {done.returncode}: {said}")


def _write_private(file: Path, payload: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(payload)
