"""agent.toml -> one frozen dataclass; an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headway.errors import ConfigError
from headway.fields import Fields
from headway.maths import Loss, Optimizer
from headway.mqtt.transport import MqttSettings
from headway.wire import Precision, checked_name


@dataclass(frozen=True, slots=True)
class SensorSettings:
    """The spool folder: files in, files out. Sizes bound what one file may make us hold.

    label_map: class by the name that label files have for it.
    """

    spool_dir: Path = Path("spool")
    predictions_dir: Path = Path("predictions")
    poll_interval_s: float = 1.0
    file_bytes_max: int = 64 << 20
    inflated_bytes_max: int = 256 << 20
    predictions_files_max: int = 10_000
    label_map: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """Which learner runs, and the gate between learning and serving."""

    kind: str = "auto"
    recent_rows: int = 256
    optimizer: str = "momentum"
    loss: str = "auto"
    learning_rate: float = 1.0
    learning_rate_decay: float = 0.0
    momentum: float = 0.9
    clip_norm: float = 0.0
    huber_delta: float = 1.0
    l2: float = 0.0
    proximal: float = 0.0
    l2_sp: float = 0.0
    train: str = "online"
    steps_per_label: int = 4
    train_rows: int = 16
    train_epochs: int = 12
    batch_rows: int = 16
    replay_rows: int = 256
    source_worth: float = 4.0
    seed: int = 0
    update_labels: int = 16
    new_classes: bool = False
    horizon_rows: int = 1024
    gate_discount: float = 0.99
    gate_margin: float = 1.0
    gate_errors: float = 1.0
    drift: str = "adwin"
    feature_drift: bool = True
    wanted_labels_max: int = 16
    self_training: float = 0.0
    fleet_prior: bool = True


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """When labels are learned, and how much a step may take. 0 for a limit: none.

    train: ``always``, ``labels`` (every `every_labels`), ``interval`` (every `every_s`) or ``drift``.
    """

    train: str = "always"
    every_labels: int = 64
    every_s: float = 3600.0
    load_max: float = 0.0
    temperature_c_max: float = 0.0
    mains_only: bool = False
    step_labels_max: int = 1024
    step_s_max: float = 1.0
    waiting_rows_max: int = 10_000
    waiting_bytes_max: int = 64 << 20


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """How often the device talks to the aggregator, and how much it may keep for it.

    whole_bytes_max: longer statistics are followed by mere changes; 0: all of them.
    """

    interval_s: float = 60.0
    ack_timeout_s: float = 30.0
    outbox_rows_max: int = 10_000
    outbox_bytes_max: int = 64 << 20
    update_precision: Precision = Precision.FLOAT32
    whole_bytes_max: int = 16 * 1024


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """Bundles that come over the network. trial_s: how long a new one must run well before it stays.

    starts_max: failed starts after which the old one comes back. latency_ms_max: of the self-test's median; 0: any.
    """

    enabled: bool = True
    bundle_bytes_max: int = 64 << 20
    trial_s: float = 300.0
    starts_max: int = 3
    answer_timeout_s: float = 30.0
    selftest_timeout_s: float = 120.0
    latency_ms_max: float = 0.0


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Everything the agent is told. `mqtt` None means: work offline.

    public_key: file; the bundle must be signed with it. prefer: ``exact`` takes the most exact backbone that runs
    here, ``fast`` times them at the start and takes the fastest.
    """

    device: str
    fleet: str
    bundle: Path
    state_dir: Path
    sensor: SensorSettings = field(default_factory=SensorSettings)
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    sync: SyncSettings = field(default_factory=SyncSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    mqtt: MqttSettings | None = None
    public_key: Path | None = None
    prefer: str = "exact"
    policy: PolicySettings = field(default_factory=PolicySettings)


def read_config(path: Path) -> AgentConfig:
    """Read and check a configuration file; relative paths count from its folder. Raises ConfigError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    return config_from(table, path.name, path.resolve().parent)


def config_from(table: object, where: str, base: Path) -> AgentConfig:
    """Check a parsed configuration. `where` names it in errors, `base` anchors relative paths."""
    fields = Fields(table, where, ConfigError)
    device, bundle, storage = fields.table("device"), fields.table("bundle"), fields.table("storage")
    config = AgentConfig(
        device=checked_name(device.text("id"), "device id"),
        fleet=checked_name(device.text("fleet", "default"), "fleet"),
        bundle=base / bundle.text("path", length_max=4096),
        state_dir=base / storage.text("state_dir", length_max=4096),
        sensor=_sensor(fields.table("sensor"), base),
        learner=learner_settings(fields.table("learner")),
        policy=policy_settings(fields.table("policy")),
        sync=_sync(fields.table("sync")),
        delivery=_delivery(fields.table("delivery")),
        mqtt=MqttSettings.read(fields.table("mqtt")) if fields.has("mqtt") else None,
        public_key=base / bundle.text("public_key", length_max=4096) if bundle.has("public_key") else None,
        prefer=bundle.choice("prefer", ("exact", "fast"), "exact"),
    )
    for table_fields in (device, bundle, storage, fields):
        table_fields.finish()
    return config


def learner_settings(fields: Fields) -> LearnerSettings:
    """The ``[learner]`` table; ``replay`` reads it alone."""
    default = LearnerSettings()
    settings = LearnerSettings(
        kind=fields.choice("kind", ("auto", "exact", "gradient"), default.kind),
        optimizer=fields.choice("optimizer", tuple(Optimizer), default.optimizer),
        loss=fields.choice("loss", ("auto", *Loss), default.loss),
        learning_rate=fields.number("learning_rate", default.learning_rate, low=1e-6, high=100),
        learning_rate_decay=fields.number("learning_rate_decay", default.learning_rate_decay, low=0.0, high=1.0),
        momentum=fields.number("momentum", default.momentum, low=0.0, high=0.999),
        clip_norm=fields.number("clip_norm", default.clip_norm, low=0.0, high=1e6),
        huber_delta=fields.number("huber_delta", default.huber_delta, low=1e-6, high=1e6),
        l2=fields.number("l2", default.l2, low=0.0, high=1e3),
        proximal=fields.number("proximal", default.proximal, low=0.0, high=1e3),
        l2_sp=fields.number("l2_sp", default.l2_sp, low=0.0, high=1e3),
        train=fields.choice("train", ("online", "batch", "scheduled"), default.train),
        steps_per_label=fields.integer("steps_per_label", default.steps_per_label, low=1, high=1000),
        train_rows=fields.integer("train_rows", default.train_rows, low=1, high=1 << 16),
        train_epochs=fields.integer("train_epochs", default.train_epochs, low=1, high=1000),
        batch_rows=fields.integer("batch_rows", default.batch_rows, low=1, high=4096),
        replay_rows=fields.integer("replay_rows", default.replay_rows, low=1, high=1 << 16),
        source_worth=fields.number("source_worth", default.source_worth, low=0.0, high=1e6),
        seed=fields.integer("seed", default.seed, low=0, high=2**32),
        update_labels=fields.integer("update_labels", default.update_labels, low=1, high=1 << 20),
        new_classes=fields.boolean("new_classes", default.new_classes),
        horizon_rows=fields.integer("horizon_rows", default.horizon_rows, low=0, high=1 << 20),
        recent_rows=fields.integer("recent_rows", default.recent_rows, low=1, high=1 << 16),
        gate_discount=fields.number("gate_discount", default.gate_discount, low=0.5, high=1.0),
        gate_margin=fields.number("gate_margin", default.gate_margin, low=0.0, high=100.0),
        gate_errors=fields.number("gate_errors", default.gate_errors, low=0.0, high=10.0),
        drift=fields.choice("drift", ("adwin", "page-hinkley", "off"), default.drift),
        feature_drift=fields.boolean("feature_drift", default.feature_drift),
        self_training=fields.number("self_training", default.self_training, low=0.0, high=1.0),
        fleet_prior=fields.boolean("fleet_prior", default.fleet_prior),
        wanted_labels_max=fields.integer("wanted_labels_max", default.wanted_labels_max, low=0, high=1024),
    )
    fields.finish()
    return settings


def policy_settings(fields: Fields) -> PolicySettings:
    """The ``[policy]`` table."""
    default = PolicySettings()
    settings = PolicySettings(
        train=fields.choice("train", ("always", "labels", "interval", "drift"), default.train),
        every_labels=fields.integer("every_labels", default.every_labels, low=1, high=1 << 20),
        every_s=fields.number("every_s", default.every_s, low=1.0, high=30 * 86_400),
        load_max=fields.number("load_max", default.load_max, low=0.0, high=1024),
        temperature_c_max=fields.number("temperature_c_max", default.temperature_c_max, low=0.0, high=150),
        mains_only=fields.boolean("mains_only", default.mains_only),
        step_labels_max=fields.integer("step_labels_max", default.step_labels_max, low=0, high=1 << 20),
        step_s_max=fields.number("step_s_max", default.step_s_max, low=0.01, high=3600),
        waiting_rows_max=fields.integer("waiting_rows_max", default.waiting_rows_max, low=1, high=1 << 20),
        waiting_bytes_max=fields.integer("waiting_bytes_max", default.waiting_bytes_max, low=1 << 16),
    )
    fields.finish()
    return settings


def _sensor(fields: Fields, base: Path) -> SensorSettings:
    default = SensorSettings()
    settings = SensorSettings(
        spool_dir=base / fields.text("spool_dir", str(default.spool_dir), length_max=4096),
        predictions_dir=base / fields.text("predictions_dir", str(default.predictions_dir), length_max=4096),
        poll_interval_s=fields.number("poll_interval_s", default.poll_interval_s, low=0.01, high=3600),
        file_bytes_max=fields.integer("file_bytes_max", default.file_bytes_max, low=1024),
        inflated_bytes_max=fields.integer("inflated_bytes_max", default.inflated_bytes_max, low=1024),
        predictions_files_max=fields.integer("predictions_files_max", default.predictions_files_max, low=1),
        label_map=_label_map(fields),
    )
    fields.finish()
    return settings


def _label_map(fields: Fields) -> dict[str, str]:
    table = fields.mapping("label_map")
    for name, to in table.items():
        if not isinstance(to, str):
            raise ConfigError(f"label_map of {fields.where} maps {name!r} to {to!r}; give the name of a class")
    return {name: str(to) for name, to in table.items()}


def _sync(fields: Fields) -> SyncSettings:
    default = SyncSettings()
    settings = SyncSettings(
        interval_s=fields.number("interval_s", default.interval_s, low=0.1, high=7 * 86_400),
        ack_timeout_s=fields.number("ack_timeout_s", default.ack_timeout_s, low=0.1, high=86_400),
        outbox_rows_max=fields.integer("outbox_rows_max", default.outbox_rows_max, low=1),
        outbox_bytes_max=fields.integer("outbox_bytes_max", default.outbox_bytes_max, low=1 << 20),
        update_precision=Precision(fields.choice("update_precision", tuple(Precision), default.update_precision)),
        whole_bytes_max=fields.integer("whole_bytes_max", default.whole_bytes_max, low=0),
    )
    fields.finish()
    return settings


def _delivery(fields: Fields) -> DeliverySettings:
    default = DeliverySettings()
    settings = DeliverySettings(
        enabled=fields.boolean("enabled", default.enabled),
        bundle_bytes_max=fields.integer("bundle_bytes_max", default.bundle_bytes_max, low=1024, high=512 << 20),
        trial_s=fields.number("trial_s", default.trial_s, low=0.0, high=7 * 86_400),
        starts_max=fields.integer("starts_max", default.starts_max, low=1, high=100),
        answer_timeout_s=fields.number("answer_timeout_s", default.answer_timeout_s, low=0.1, high=86_400),
        selftest_timeout_s=fields.number("selftest_timeout_s", default.selftest_timeout_s, low=1.0, high=3600),
        latency_ms_max=fields.number("latency_ms_max", default.latency_ms_max, low=0.0, high=3_600_000),
    )
    fields.finish()
    return settings
