"""Implements `edge-fleet enroll`, `revoke`, `certificates` and `broker-config`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from aggregator.commands.durations import duration_s
from aggregator.commands.tables import print_table
from aggregator.config import Settings
from aggregator.enrolment.authority import FOLDER, Authority, Issued, Role, write_private
from aggregator.enrolment.broker import (
    AGGREGATOR_IDENTITY,
    AGGREGATOR_NAME,
    CONFIGURATION,
    SERVER_DAYS,
    BrokerPlace,
    write_broker,
    write_revoked,
)
from aggregator.enrolment.enrolment import Broker, Enrolment
from aggregator.enrolment.revocation import shut_out
from aggregator.store import Store
from aggregator.store.rows import CERTIFICATES, CertificateRow
from aggregator.store.sql import SqlStore
from headway.errors import ConfigError
from headway.fields import readable_json
from headway.ports import Clock

HEADER = ("DEVICE", "STATE", "UNTIL", "SERIAL")


def opened(settings: Settings, clock: Clock) -> tuple[Enrolment, Authority]:
    """Enrolment over the fleet's store and authority, both made at their first use."""
    authority = Authority.open(settings.state_dir, settings.fleet, clock.wall_s())
    chosen = settings.enrolment
    broker = Broker(settings.fleet, chosen.broker_host or settings.mqtt.host, chosen.broker_port)
    return Enrolment(SqlStore(settings.database), authority, broker, chosen.certificate_days), authority


def enroll(
    settings: Settings, clock: Clock, device: str | None, groups: str, reusable: bool, count_max: int, expires: str
) -> None:
    """``edge-fleet enroll``: print a code, and nothing else, on stdout."""
    if reusable == bool(device):
        raise ConfigError("give the NAME of one device, or --reusable for several that name themselves")
    if not reusable and count_max != 1:
        raise ConfigError("a code for one device is used once; --count-max needs --reusable")
    enrolment, _ = opened(settings, clock)
    named = [group for group in groups.split(",") if group]
    print(enrolment.new_code(device or "", named, count_max, clock.wall_s(), duration_s(expires)).text)


def revoke(device: str, settings: Settings, clock: Clock) -> None:
    """``edge-fleet revoke``: once this has returned, the device is out. Repeated, it finishes what was interrupted."""
    enrolment, authority = opened(settings, clock)
    folder = settings.enrolment.broker_dir
    count = enrolment.revoke(device, clock.wall_s())
    if folder is None:
        raise ConfigError(
            f"{device} is revoked, but the broker does not know: set broker_dir in [enrolment] to the folder that "
            "edge-fleet broker-config wrote, then revoke again"
        )

    def write_list(more: Sequence[Issued]) -> None:
        write_revoked(folder, revocations(enrolment, authority, clock, more))

    shut_out(device, settings.mqtt, authority, write_list, settings.enrolment.broker_reload, clock)
    print(
        f"{device} is shut out ({count} certificates revoked now); what it taught stays until "
        f"edge-fleet remove {device}"
    )


def revocations(enrolment: Enrolment, authority: Authority, clock: Clock, more: Sequence[Issued] = ()) -> bytes:
    """The signed list of what is revoked, PEM."""
    now_s = clock.wall_s()
    return authority.revocations([*enrolment.revoked(now_s), *((one.serial, now_s) for one in more)], now_s)


def list_certificates(store: Store, clock: Clock, in_json: bool) -> None:
    """``edge-fleet certificates``, by device."""
    with store.transaction():
        rows = sorted(store.rows(CERTIFICATES).all(), key=lambda row: (row.device, row.issued_s))
    now_s = clock.wall_s()
    if in_json:
        print(readable_json([{**asdict(row), "certificate": row.certificate.decode()} for row in rows]))
    elif rows:
        table = [(row.device, _state(row, now_s), _day(row.expires_s), row.serial) for row in rows]
        plain = "\n".join("  ".join(line) for line in [HEADER, *table])
        print_table(HEADER, table, plain, frozenset())
    else:
        print("no device has joined yet")


def write_broker_config(
    settings: Settings, clock: Clock, folder: Path, hosts: tuple[str, ...], user: str, persistence: Path
) -> None:
    """``edge-fleet broker-config``: the broker's folder, and the certificate with which the aggregator connects."""
    enrolment, authority = opened(settings, clock)
    named = tuple(dict.fromkeys([*hosts, settings.enrolment.broker_host or settings.mqtt.host, settings.mqtt.host]))
    place = BrokerPlace(folder, named, settings.enrolment.broker_port, user, persistence)
    write_broker(place, authority, settings.fleet, revocations(enrolment, authority, clock), clock.wall_s())
    identity = settings.state_dir.absolute() / FOLDER / AGGREGATOR_IDENTITY
    key, issued = authority.issue_with_key(AGGREGATOR_NAME, Role.CLIENT, clock.wall_s(), SERVER_DAYS)
    write_private(identity, key + issued.pem)
    where = folder.absolute()
    print(
        f"{where}/{CONFIGURATION} is ready for {', '.join(named)}; try it: mosquitto -c {where}/{CONFIGURATION}\n"
        f"As a service: copy {where}/mosquitto.service.conf to\n"
        f"/etc/systemd/system/mosquitto.service.d/headway.conf, then\n"
        f"systemctl daemon-reload; systemctl restart mosquitto\n"
        f'In aggregator.toml:\n[mqtt]\nhost = "{settings.mqtt.host}"\nport = {place.port}\ntls = true\n'
        f'ca_file = "{where}/ca.pem"\ncert_file = "{identity}"\nkey_file = "{identity}"\n'
        f'[enrolment]\nbroker_dir = "{where}"'
    )


def _state(row: CertificateRow, now_s: float) -> str:
    if row.revoked_s:
        return "revoked"
    return "good" if now_s < row.expires_s else "over"


def _day(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d")
