"""Writes the folder from which mosquitto runs: configuration, access list, certificates, list of revoked ones."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aggregator.enrolment.authority import Authority, Role
from headway.durable import write_durably
from headway.errors import ConfigError, StoreError
from headway.wire import ALL, FROM_DEVICES, TO_DEVICES, TO_EVERY_DEVICE, Kind, topic

CONFIGURATION, ACCESS_LIST, REVOKED = "mosquitto.conf", "headway.acl", "revoked.pem"
AGGREGATOR_IDENTITY = "aggregator.pem"
# no device's name can begin so: a device cannot take the name to which the access list gives everything
AGGREGATOR_NAME, BROKER_NAME = "_aggregator", "_broker"
SERVER_DAYS = 825

CONF = """\
# Written by edge-fleet broker-config: a whole configuration, for mosquitto -c {folder}/{configuration}
# (Debian's own /etc/mosquitto/mosquitto.conf is not read: it names a persistence_location, which may stand only once.)
user {user}
per_listener_settings false
listener {port}
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
crlfile {folder}/{revoked}
tls_version tlsv1.2

# the common name of a certificate is user name and client id: nobody takes the session of another
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {folder}/{access_list}

persistence true
persistence_location {persistence}/
# every five minutes, not at every change: mosquitto writes all that it keeps each time, and a fleet of thousands would
# wait for it (pkill -USR1 mosquitto, as its user or root, has it write now). What it forgets when it is killed, devices
# and aggregator send again
autosave_on_changes false
autosave_interval 300

max_inflight_messages 100
max_queued_messages 10000
max_packet_size 163840
"""
DROP_IN = """\
# Copy to /etc/systemd/system/mosquitto.service.d/headway.conf, then: systemctl daemon-reload
[Service]
ExecStart=
ExecStart=/usr/sbin/mosquitto -c {folder}/{configuration}
"""


@dataclass(frozen=True, slots=True)
class BrokerPlace:
    """Where mosquitto runs. hosts: names and addresses by which it is reached; user: whom it becomes."""

    folder: Path
    hosts: Sequence[str]
    port: int
    user: str
    persistence: Path


def write_broker(place: BrokerPlace, authority: Authority, fleet: str, revoked: bytes, now_s: float) -> None:
    """Write everything; certificate and key of the broker anew each time. Raises StoreError, ConfigError.

    Run as root, the files belong to the broker's user, or it could not read its key once it has become that user.
    """
    for what in (str(place.folder), str(place.persistence), place.user, *place.hosts):
        if not what.isprintable() or "\n" in what:
            raise ConfigError(f"{what!r} cannot stand in a configuration of mosquitto")
    owner = _owner(place.user)
    folder = place.folder.absolute()
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not place.persistence.exists():
            place.persistence.mkdir(mode=0o700, parents=True)
            if owner is not None:
                os.chown(place.persistence, *owner)
    except OSError as error:
        raise StoreError(f"cannot make {error.filename}: {error.strerror or error}") from error
    key, issued = authority.issue_with_key(BROKER_NAME, Role.SERVER, now_s, SERVER_DAYS, tuple(place.hosts))
    words = {
        "folder": folder, "configuration": CONFIGURATION, "revoked": REVOKED, "access_list": ACCESS_LIST,
        "port": place.port, "user": place.user, "persistence": str(place.persistence.absolute()).rstrip("/"),
    }  # fmt: skip
    _write(folder / "ca.pem", authority.pem, 0o644, owner)
    _write(folder / REVOKED, revoked, 0o644, owner)
    _write(folder / ACCESS_LIST, access_list(fleet).encode(), 0o600, owner)
    _write(folder / "server.key", key, 0o600, owner)
    _write(folder / "server.pem", issued.pem, 0o644, owner)
    _write(folder / "mosquitto.service.conf", DROP_IN.format(**words).encode(), 0o644, owner)
    _write(folder / CONFIGURATION, CONF.format(**words).encode(), 0o644, owner)


def write_revoked(folder: Path, revoked: bytes) -> None:
    """Renew the list of revoked certificates in a folder that `write_broker` wrote. Raises ConfigError, StoreError."""
    file = folder / REVOKED
    if not (folder / CONFIGURATION).exists():
        raise ConfigError(f"{folder} holds no {CONFIGURATION}; write it: edge-fleet broker-config {folder}")
    _write(file, revoked, 0o644, None)


def access_list(fleet: str) -> str:
    """Who may use which topic: a device its own, the aggregator all of the fleet's. %u is the certificate's name."""
    own = [f"pattern write {topic(fleet, '%u', kind)}" for kind in FROM_DEVICES]
    told = [f"pattern read {topic(fleet, '%u', kind)}" for kind in TO_DEVICES]
    every = [f"pattern read {topic(fleet, ALL, kind)}" for kind in TO_EVERY_DEVICE]
    # of every feature space, by a name that begins with _space
    every.append(f"pattern read {topic(fleet, '+', Kind.HEAD)}")
    everything = topic(fleet, "x", FROM_DEVICES[0]).split("/x/")[0]
    return "\n".join([*own, *told, *every, "", f"user {AGGREGATOR_NAME}", f"topic readwrite {everything}/#", ""])


def _owner(user: str) -> tuple[int, int] | None:
    """Whom the files are to belong to; None where that cannot be set or is so already."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise ConfigError(
            f"there is no user {user!r} here; install mosquitto first (apt install mosquitto), or give --user"
        ) from error
    return entry.pw_uid, entry.pw_gid


def _write(file: Path, payload: bytes, mode: int, owner: tuple[int, int] | None) -> None:
    def write(stream: BinaryIO) -> None:
        if owner is not None:
            os.fchown(stream.fileno(), *owner)
        stream.write(payload)

    write_durably(file, write, mode)
