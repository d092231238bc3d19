"""Implements `edge-fleet enroll`, `revoke`, `certificates` and `broker-config`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from aggregator.commands.done import say
from aggregator.commands.place import until_the_end
from aggregator.commands.tables import print_table
from aggregator.config import Settings
from aggregator.enrolment.authority import FOLDER, Role, write_private
from aggregator.enrolment.broker import (
    AGGREGATOR_IDENTITY,
    AGGREGATOR_NAME,
    CONFIGURATION,
    SERVER_DAYS,
    BrokerPlace,
    write_broker,
)
from aggregator.operations.enrolment import opened, revocations
from aggregator.reach import Fleet
from aggregator.store.sql import SqlStore
from headway.fields import readable_json
from headway.ports import Clock

HEADER = ("DEVICE", "STATE", "UNTIL", "SERIAL")


def enroll(fleet: Fleet, device: str | None, groups: str, reusable: bool, count_max: int, expires: str) -> None:
    """``edge-fleet enroll``: print a code, and nothing else, on stdout."""
    named = [group for group in groups.split(",") if group]
    code = fleet.new_code(device or "", named, reusable, count_max, expires)
    say(code, code=code)


def revoke_device(device: str, fleet: Fleet) -> None:
    """``edge-fleet revoke``: once this has returned, the device is out. Repeated, it finishes what was interrupted."""
    count = fleet.revoke(device)
    say(
        f"{device} is shut out ({count} certificates revoked now); what it taught stays until "
        f"edge-fleet remove {device}",
        revoked=device, certificates=count,
    )  # fmt: skip


def show_certificates(fleet: Fleet, in_json: bool) -> None:
    """``edge-fleet certificates``, by device."""
    views = fleet.certificates()
    if in_json:
        print(readable_json([asdict(view) for view in views]))
    elif views:
        table = [(view.device, view.state, _day(view.expires_s), view.serial) for view in views]
        plain = "\n".join("  ".join(line) for line in [HEADER, *table])
        print_table(HEADER, table, plain, frozenset())
    else:
        print("no device has joined yet")


def write_broker_config(
    settings: Settings, clock: Clock, folder: Path, hosts: tuple[str, ...], user: str, persistence: Path
) -> None:
    """``edge-fleet broker-config``: the broker's folder, and the certificate with which the aggregator connects."""
    enrolment, authority = opened(settings, clock, lambda: until_the_end(SqlStore(settings.database)))
    named = tuple(dict.fromkeys([*hosts, settings.enrolment.broker_host or settings.mqtt.host, settings.mqtt.host]))
    place = BrokerPlace(folder, named, settings.enrolment.broker_port, user, persistence)
    write_broker(place, authority, settings.fleet, revocations(enrolment, authority, clock), clock.wall_s())
    identity = settings.state_dir.absolute() / FOLDER / AGGREGATOR_IDENTITY
    key, issued = authority.issue_with_key(AGGREGATOR_NAME, Role.CLIENT, clock.wall_s(), SERVER_DAYS)
    write_private(identity, key + issued.pem)
    where = folder.absolute()
    say(
        f"{where}/{CONFIGURATION} is ready for {', '.join(named)}; try it: mosquitto -c {where}/{CONFIGURATION}\n"
        f"As a service: copy {where}/mosquitto.service.conf to\n"
        f"/etc/systemd/system/mosquitto.service.d/headway.conf, then\n"
        f"systemctl daemon-reload; systemctl restart mosquitto\n"
        f'In aggregator.toml:\n[mqtt]\nhost = "{settings.mqtt.host}"\nport = {place.port}\ntls = true\n'
        f'ca_file = "{where}/ca.pem"\ncert_file = "{identity}"\nkey_file = "{identity}"\n'
        f'[enrolment]\nbroker_dir = "{where}"',
        broker_dir=str(where), hosts=[*named], port=place.port, identity=str(identity),
    )  # fmt: skip


def _day(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d")
