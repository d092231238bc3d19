"""Codes with which devices join, certificates, and how a lost device is shut out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from aggregator.config import Settings
from aggregator.enrolment.authority import Authority, Issued
from aggregator.enrolment.broker import write_revoked
from aggregator.enrolment.enrolment import Broker, Enrolment
from aggregator.enrolment.revocation import shut_out
from aggregator.operations.operator import Operator
from aggregator.store import Store
from aggregator.store.rows import CERTIFICATES, CertificateRow
from headway.bundle import read_public_keys
from headway.errors import ConfigError
from headway.joining import JoinCode
from headway.ports import Clock
from headway.private_keys import public_key_line


@dataclass(frozen=True, slots=True)
class CertificateView:
    """A certificate of a device, as in `CertificateRow`; state: ``good``, ``over`` or ``revoked``."""

    serial: str
    device: str
    groups: str
    code_sha256: str
    key_sha256: str
    certificate: str
    issued_s: float
    expires_s: float
    revoked_s: float
    state: str


def opened(settings: Settings, clock: Clock, open_store: Callable[[], Store]) -> tuple[Enrolment, Authority]:
    """Enrolment over the fleet's store, and authority, which is made at its first use, and the state folder with it."""
    authority = Authority.open(settings.state_dir, settings.fleet, clock.wall_s())
    chosen = settings.enrolment
    host, keys = chosen.broker_host or settings.mqtt.host, _head_keys(settings)
    broker = Broker(settings.fleet, host, chosen.broker_port, keys)
    return Enrolment(open_store(), authority, broker, chosen.certificate_days), authority


def _head_keys(settings: Settings) -> tuple[str, ...]:
    """What devices that join are to trust, a line of a public key's file each."""
    file, private = settings.head_keys, settings.signing_key
    if file is None and private is not None:
        file = private.with_name(private.name + ".pub")
    return () if file is None else tuple(public_key_line(key).strip() for key in read_public_keys(file))


def new_code(
    enrolment: Enrolment, operator: Operator, device: str, groups: Sequence[str], reusable: bool, count_max: int,
    lasts_s: float,
) -> JoinCode:  # fmt: skip
    """A code for one device, or a reusable one for several. Raises ConfigError."""
    if reusable == bool(device):
        raise ConfigError("give the NAME of one device, or --reusable for several that name themselves")
    if not reusable and count_max != 1:
        raise ConfigError("a code for one device is used once; --count-max needs --reusable")
    return enrolment.put_code(operator.who, device, groups, count_max, operator.now_s, lasts_s)


def revoke(device: str, who: str, settings: Settings, clock: Clock, store: Store) -> int:
    """Once this has returned, the device is out; how many certificates were good until now. In no transaction.

    Repeated, it finishes what was interrupted. Raises UnknownNameError, ConfigError where the broker cannot be told.
    """
    enrolment, authority = opened(settings, clock, lambda: store)
    folder = settings.enrolment.broker_dir
    count = enrolment.revoke(device, clock.wall_s(), who)
    if folder is None:
        raise ConfigError(
            f"{device} is revoked, but the broker does not know: set broker_dir in [enrolment] to the folder that "
            "edge-fleet broker-config wrote, then revoke again"
        )

    def write_list(more: Sequence[Issued]) -> None:
        write_revoked(folder, revocations(enrolment, authority, clock, more))

    shut_out(device, settings.mqtt, authority, write_list, settings.enrolment.broker_reload, clock)
    return count


def revocations(enrolment: Enrolment, authority: Authority, clock: Clock, more: Sequence[Issued] = ()) -> bytes:
    """The signed list of what is revoked, PEM."""
    now_s = clock.wall_s()
    return authority.revocations([*enrolment.revoked(now_s), *((one.serial, now_s) for one in more)], now_s)


def list_certificates(store: Store, now_s: float) -> list[CertificateView]:
    """By device. In a transaction."""
    rows = sorted(store.rows(CERTIFICATES).all(), key=lambda row: (row.device, row.issued_s))
    return [CertificateView(**asdict(row) | {"certificate": row.certificate.decode(), "state": _state(row, now_s)})
            for row in rows]  # fmt: skip


def _state(row: CertificateRow, now_s: float) -> str:
    if row.revoked_s:
        return "revoked"
    return "good" if now_s < row.expires_s else "over"
