"""The aggregator's settings: one TOML file, read strictly into frozen dataclasses. Example: systemd/aggregator.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aggregator.policy import AveragingPolicy, DeliveryPolicy, Limits, Method, Policy
from headway.errors import ConfigError
from headway.fields import Fields
from headway.mqtt.transport import MqttSettings
from headway.wire import checked_name

DATABASE = "aggregator.sqlite"
# a fleet's acks leave in bursts: more may be in flight than a device ever needs; and one client makes no storm
MQTT_DEFAULT = MqttSettings(receive_max=1000, reconnect_spread_s=0.5)


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """messages_per_transaction_max: how many messages share one fsync; queue_messages_max: received, not yet
    stored; beyond it the network thread waits, and so does the broker."""

    messages_per_transaction_max: int = 500
    queue_messages_max: int = 5_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `edge-fleet serve` needs. database_url: empty for SQLite in `state_dir`."""

    fleet: str
    bundle: Path
    state_dir: Path
    database_url: str = ""
    policy: Policy = field(default_factory=Policy)
    service: ServiceLimits = field(default_factory=ServiceLimits)
    mqtt: MqttSettings = MQTT_DEFAULT

    def __post_init__(self) -> None:
        checked_name(self.fleet, "fleet")

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.database_url or sqlite_url(self.state_dir)


def sqlite_url(state_dir: Path) -> str:
    """URL of the default database in `state_dir`."""
    return f"sqlite:///{(state_dir / DATABASE).absolute()}"


def read_settings(path: Path | None, given: Mapping[tuple[str, str], object] | None = None) -> Settings:
    """Read a configuration file, or none; a value in `given`, by (table, key), wins over the file's.

    Raises ConfigError, one line with the place, the key and what it should be.
    """
    table = {} if path is None else _toml(path)
    for (name, key), value in (given or {}).items():
        section = table.setdefault(name, {})
        if isinstance(section, dict):
            section[key] = value
    return settings_of(Fields(table, "the options" if path is None else path.name, ConfigError))


def _toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def settings_of(fields: Fields) -> Settings:
    """Interpret a parsed configuration; unknown keys are errors that name the nearest known one."""
    fleet, bundle, storage = fields.table("fleet"), fields.table("bundle"), fields.table("storage")
    settings = Settings(
        fleet=fleet.text("name"),
        bundle=Path(bundle.text("path", length_max=4096)),
        state_dir=Path(storage.text("state_dir", length_max=4096)),
        database_url=storage.text("database_url", "", length_max=4096),
        policy=_policy(fields),
        service=_service(fields.table("service")),
        mqtt=MqttSettings.read(fields.table("mqtt"), MQTT_DEFAULT),
    )
    for table in (fleet, bundle, storage, fields):
        table.finish()
    return settings


def _policy(fields: Fields) -> Policy:
    publish, sync, default = fields.table("publish"), fields.table("sync"), Policy()
    policy = Policy(
        method=Method(publish.choice("method", tuple(Method), default.method)),
        publish_interval_s=publish.number("interval_s", default.publish_interval_s, low=0.0, high=86_400),
        shrinkage=publish.number("shrinkage", default.shrinkage, low=1e-6, high=1.0),
        prior_devices_min=publish.integer("prior_devices_min", default.prior_devices_min, high=1_000_000),
        pace_s=sync.number("pace_s", default.pace_s, low=0.0, high=86_400),
        averaging=_averaging(fields.table("averaging")),
        delivery=_delivery(fields.table("delivery")),
        limits=_limits(fields.table("limits")),
    )
    publish.finish()
    sync.finish()
    return policy


def _averaging(fields: Fields) -> AveragingPolicy:
    default = AveragingPolicy()
    averaging = AveragingPolicy(
        updates_min=fields.integer("updates_min", default.updates_min, low=1, high=1_000_000),
        round_s=fields.number("round_s", default.round_s, low=0.0, high=30 * 86_400),
        learning_rate=fields.number("learning_rate", default.learning_rate, low=0.0, high=100.0),
        clip_norm=fields.number("clip_norm", default.clip_norm, low=1e-6, high=1e9),
        staleness_exponent=fields.number("staleness_exponent", default.staleness_exponent, low=0.0, high=10.0),
        samples_max=fields.integer("samples_max", default.samples_max, low=1),
    )
    fields.finish()
    return averaging


def _delivery(fields: Fields) -> DeliveryPolicy:
    default = DeliveryPolicy()
    policy = DeliveryPolicy(
        bytes_per_s=fields.number("bytes_per_s", default.bytes_per_s, low=1000.0, high=1e10),
        devices_per_s=fields.number("devices_per_s", default.devices_per_s, low=0.01, high=1e5),
    )
    fields.finish()
    return policy


def _limits(fields: Fields) -> Limits:
    default = Limits()
    limits = Limits(
        devices_max=fields.integer("devices_max", default.devices_max, low=1),
        epochs_per_device_max=fields.integer("epochs_per_device_max", default.epochs_per_device_max, low=1),
        classes_max=fields.integer("classes_max", default.classes_max, low=1, high=4096),
        pending_updates_max=fields.integer("pending_updates_max", default.pending_updates_max, low=1),
        events_max=fields.integer("events_max", default.events_max, low=1),
        heads_kept_max=fields.integer("heads_kept_max", default.heads_kept_max, low=1, high=10_000),
    )
    fields.finish()
    return limits


def _service(fields: Fields) -> ServiceLimits:
    default = ServiceLimits()
    limits = ServiceLimits(
        messages_per_transaction_max=fields.integer(
            "messages_per_transaction_max", default.messages_per_transaction_max, low=1, high=100_000
        ),
        queue_messages_max=fields.integer("queue_messages_max", default.queue_messages_max, low=1, high=10_000_000),
    )
    fields.finish()
    return limits
