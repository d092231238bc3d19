"""agent.toml -> one frozen dataclass; an unknown key is an error that names the nearest known one.

Each setting is declared once, here: default, limits, and the sentence that docs/configuration.md and
systemd/agent.toml show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_agent.delivery_settings import DeliverySettings
from edge_agent.health_settings import HealthSettings
from edge_agent.trial_settings import TrialSettings
from headway.errors import ConfigError
from headway.fields import Fields
from headway.maths import Loss, Optimizer
from headway.mqtt import MqttSettings
from headway.settings import (
    boolean,
    check,
    choice,
    integer,
    names,
    number,
    optional_path,
    optional_table,
    path,
    read_toml,
    settings_from,
    table,
    text,
)
from headway.wire import Precision, checked_name


@dataclass(frozen=True, slots=True)
class SensorSettings:
    """The spool folder: files in, files out. Sizes bound what one file may make us hold."""

    spool_dir: Path = path(
        "spool",
        doc="Folder into which programs put .npz files of windows x, labels y or both, written under another name "
        "and then renamed to *.npz; y holds class names or indices (n,), or 0 / 1 or values (n, C), NaN where one "
        "is unknown.",
    )
    predictions_dir: Path = path("predictions", doc="Folder into which the agent writes its answers.")
    poll_interval_s: float = number(1.0, low=0.01, high=3600, doc="Seconds between two looks into the spool folder.")
    file_bytes_max: int = integer(64 << 20, low=1024, doc="Longest file in bytes that is taken in.")
    inflated_bytes_max: int = integer(
        256 << 20, low=1024, doc="Most bytes that the arrays of one file may have once unpacked."
    )
    predictions_files_max: int = integer(
        10_000, low=1, doc="Files with answers that are kept; beyond it the oldest are deleted."
    )
    labels_bytes_max: int = integer(
        16 << 20, low=1024, doc="Most bytes that y and id of one file may have once unpacked; they are held in memory."
    )
    settle_s: float = number(
        5.0,
        low=0.0,
        high=3600,
        doc="Seconds for which a file must not have changed before it is taken, unless its name ends in .npz and it is "
        "a finished archive, which is taken at once.",
    )
    rejected_files_max: int = integer(
        1_000, low=1, doc="Files that are kept in rejected/; beyond it the oldest are deleted."
    )
    rejected_bytes_max: int = integer(
        256 << 20, low=1024, doc="Bytes that files in rejected/ may take; beyond it the oldest are deleted."
    )
    label_map: Mapping[str, str] = names(
        doc="Names that label files have for a class, where they differ: name in the file = class.",
        example={"gehen": "walk", "laufen": "run"},
    )


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """Which learner runs, and the gate between learning and serving."""

    kind: str = choice(
        "auto",
        ("auto", "exact", "gradient"),
        doc='The learner: "exact" solves the head from integer statistics and forgets nothing; "gradient" descends '
        'on the head with rehearsal, for fleets that average; "auto" is exact where the bundle has statistics.',
    )
    recent_rows: int = integer(
        256, low=1, high=1 << 16, doc='Newest labels that the figures called "recent" look back on.'
    )
    optimizer: str = choice("momentum", tuple(Optimizer), doc="Gradient learner: how a gradient becomes a step.")
    loss: str = choice(
        "auto",
        ("auto", *Loss),
        doc='Gradient learner: the loss; "auto" goes by the model: cross-entropy for classes, binary-cross-entropy for '
        'several labels, mse for values; "huber" gives outliers less weight than mse.',
    )
    learning_rate: float = number(
        1.0,
        low=1e-6,
        high=100,
        doc="Gradient learner: length of a step, in units of the longest step that surely descends on this model's "
        "features, so that 1 suits every model.",
    )
    learning_rate_decay: float = number(
        0.0, low=0.0, high=1.0, doc="Gradient learner: step t is shortened by 1 / (1 + learning_rate_decay * t)."
    )
    momentum: float = number(
        0.9,
        low=0.0,
        high=0.999,
        doc='Gradient learner: how much of the last step is kept by "momentum" and "nesterov".',
    )
    clip_norm: float = number(0.0, low=0.0, high=1e6, doc="Gradient learner: longest gradient, L2 norm; 0: no limit.")
    huber_delta: float = number(
        1.0,
        low=1e-6,
        high=1e6,
        doc='Gradient learner: where "huber" turns from square to straight, in standard deviations of the output over '
        "the training data.",
    )
    l2: float = number(0.0, low=0.0, high=1e3, doc="Gradient learner: strength of the pull to zero.")
    proximal: float = number(0.0, low=0.0, high=1e3, doc="Gradient learner: strength of the pull to the fleet's head.")
    l2_sp: float = number(0.0, low=0.0, high=1e3, doc="Gradient learner: strength of the pull to the head as shipped.")
    schedule: str = choice(
        "online",
        ("online", "batch", "scheduled"),
        formerly="train",
        doc='Gradient learner: "online" takes steps_per_label steps on every label; "batch" makes train_epochs passes '
        'over each train_rows labels; "scheduled" makes them over everything that is rehearsed.',
    )
    steps_per_label: int = integer(4, low=1, high=1000, doc='Gradient learner: steps on each label, with "online".')
    train_rows: int = integer(
        16, low=1, high=1 << 16, doc='Gradient learner: labels that begin a training run, but for "online".'
    )
    train_epochs: int = integer(
        12, low=1, high=1000, doc='Gradient learner: passes over the data in a training run, but for "online".'
    )
    batch_rows: int = integer(
        16, low=1, high=4096, doc="Gradient learner: rows of one step, filled up with rehearsed ones."
    )
    replay_rows: int = integer(
        256, low=1, high=1 << 16, doc="Gradient learner: labelled rows kept to rehearse, shared out over the classes."
    )
    training_worth: float = number(
        4.0,
        low=0.0,
        high=1e6,
        formerly="source_worth",
        doc="Gradient learner: own labels of a class that weigh as much in rehearsal as the training rows of it that "
        "the bundle brings.",
    )
    seed: int = integer(0, high=2**32, doc="Gradient learner: seed of the draws to rehearse.")
    update_labels: int = integer(
        16,
        low=1,
        high=1 << 20,
        doc='Gradient learner: labels per update sent to an aggregator with method = "average".',
    )
    new_classes: bool = boolean(
        False, doc="Accept labels of classes that the model does not know, by name, and learn them as new classes."
    )
    horizon_rows: int = integer(
        1024, high=1 << 20, doc="Windows with an id that are remembered for labels that come later, 0.5 to 2 KB each."
    )
    gate_discount: float = number(
        0.99, low=0.5, high=1.0, doc="Weight of each older label against the next newer one when heads are compared."
    )
    gate_margin: float = number(
        1.0, low=0.0, high=100.0, doc="How much smaller a head's sum of losses must be before it replaces another."
    )
    gate_errors: float = number(
        1.0, low=0.0, high=10.0, doc="Standard errors by which its advantage must also exceed zero."
    )
    drift: str = choice(
        "adwin",
        ("adwin", "page-hinkley", "off"),
        doc='Watches whether what is served goes wrong more often than before; "page-hinkley" is surer of small rises '
        "and less sure of its silence where errors are many. After an alarm the exact learner may forget what was "
        "before.",
    )
    feature_drift: bool = boolean(
        True,
        doc="Watch, without labels, whether features still look like before; reports and asks for labels, no more.",
    )
    wanted_labels_max: int = integer(
        16, high=1024, doc='Labels that an alarm asks for (event "labels-wanted"), the least certain windows; 0: never.'
    )
    self_training: float = number(
        0.0,
        low=0.0,
        high=1.0,
        doc="Exact learner: once every class has a label, learn a window with an id by its prediction, until its "
        "label comes, if the probability is at least this, and while labels are few start from where all such windows "
        "lie (1: this alone); never scored or sent to the fleet; 0: off.",
    )
    persistence: bool = boolean(
        True, doc="Answer with what lasts, classes or errors of values, while labels show that it pays."
    )
    conditions: bool = boolean(
        False, doc="Exact learner, up to 512 features: keep conditions that come back apart, and answer for the newest."
    )
    fleet_prior: bool = boolean(
        True, doc="Exact learner: while this device has fewer than 128 labels, start from what others learned."
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """When labels are learned, and how much a step may take."""

    trigger: str = choice(
        "always",
        ("always", "labels", "interval", "drift"),
        formerly="train",
        doc='When waiting labels are learned: at once ("always"), when every_labels wait ("labels"), every every_s '
        'seconds ("interval"), or after an alarm all that wait and the next every_labels ("drift").',
    )
    every_labels: int = integer(
        64, low=1, high=1 << 20, doc='Labels that "labels" waits for, and that "drift" learns after those that wait.'
    )
    every_s: float = number(3600.0, low=1.0, high=30 * 86_400, doc='Seconds between two trainings, with "interval".')
    load_max: float = number(
        0.0, low=0.0, high=1024, doc="Learn only while the load average of a minute is at most this; 0: no limit."
    )
    temperature_c_max: float = number(
        0.0,
        low=0.0,
        high=150,
        doc="Learn only while the warmest thermal zone has at most so many degrees Celsius; 0: no limit.",
    )
    mains_only: bool = boolean(False, doc="Learn only on external power, where there is a battery.")
    step_labels_max: int = integer(1024, high=1 << 20, doc="Labels that one step may learn; 0: no limit.")
    step_s_max: float = number(
        1.0, low=0.01, high=3600, doc="Seconds that one step may take before waiting windows are answered."
    )
    waiting_rows_max: int = integer(
        10_000,
        low=1,
        high=1 << 20,
        doc="Labels that may wait; beyond it the oldest are learned whatever the policy says.",
    )
    waiting_bytes_max: int = integer(64 << 20, low=1 << 16, doc="Bytes that waiting labels may take, likewise.")


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """How often the device talks to the aggregator, and how much it may keep for it."""

    interval_s: float = number(60.0, low=0.1, high=7 * 86_400, doc="Seconds between two reports to the aggregator.")
    ack_timeout_s: float = number(
        30.0, low=0.1, high=86_400, doc="Seconds to wait for the aggregator's acknowledgement before sending again."
    )
    outbox_rows_max: int = integer(10_000, low=1, doc="Updates of the gradient learner that may wait to be sent.")
    outbox_bytes_max: int = integer(64 << 20, low=1 << 20, doc="Bytes that updates which wait to be sent may take.")
    update_precision: Precision = choice(
        Precision.FLOAT32,
        tuple(Precision),
        doc='How updates of the gradient learner travel: "float16" takes half the bytes, "int8" a quarter; what '
        "rounding takes from one update is added to the next.",
    )
    whole_bytes_max: int = integer(
        16 * 1024,
        doc="Statistics longer than so many bytes are sent whole only now and then, and in between what was learned "
        "since; 0: all of them.",
    )


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Everything the agent is told. `mqtt` None means: work offline. Raises ConfigError for names no topic can hold."""

    device: str = text(
        key="device.id",
        length_max=64,
        doc="Name of this device, unique in the fleet: 1 to 64 letters, digits, '.', '_' or '-', starting with a "
        "letter or digit.",
    )
    fleet: str = text(in_file="default", key="device.fleet", length_max=64, doc="Name of the fleet, likewise.")
    bundle: Path = path(key="bundle.path", doc="The bundle that edge-convert made of the model.")
    state_dir: Path = path(key="storage.state_dir", doc="Folder for everything that the agent must not lose.")
    sensor: SensorSettings = table(SensorSettings(), "sensor", doc="Files in and out, and their limits.")
    learner: LearnerSettings = table(
        LearnerSettings(), "learner", doc="Which learner runs, and the gate between learning and serving."
    )
    sync: SyncSettings = table(SyncSettings(), "sync", doc="How often the device talks to the aggregator.")
    policy: PolicySettings = table(
        PolicySettings(), "policy", doc="When labels are learned, and how much a step may take; predictions never wait."
    )
    delivery: DeliverySettings = table(
        DeliverySettings(),
        "delivery",
        doc="Bundles that come over the network, tested and rolled back by the agent itself. Without public_key in "
        "[bundle], whoever may publish under this device's name on the broker chooses the bundle.",
    )
    public_key: Path | None = optional_path(
        key="bundle.public_key",
        doc="Accept only bundles signed with this key (edge-convert keygen makes it); needs pip install "
        "'headway[signing]'.",
        example="/etc/headway/signing.pem.pub",
    )
    prefer: str = choice(
        "exact",
        ("exact", "fast"),
        key="bundle.prefer",
        doc='"exact": the most exact backbone that runs here; "fast": time all that run here at the start, take the '
        "fastest.",
    )
    mqtt: MqttSettings | None = optional_table(
        MqttSettings, "mqtt", doc="How to reach the broker; leave this table out to work offline."
    )
    trial: TrialSettings = table(TrialSettings(), "trial", doc="New bundles tried beside the one that serves.")
    health: HealthSettings = table(HealthSettings())

    def __post_init__(self) -> None:
        checked_name(self.device, "device id")
        checked_name(self.fleet, "fleet")


def read_config(file: Path) -> AgentConfig:
    """Read and check a configuration file; relative paths count from its folder. Raises ConfigError."""
    return settings_from(AgentConfig, Fields(read_toml(file), file.name, ConfigError), base=file.resolve().parent)


def read_learner_settings(file: Path) -> LearnerSettings:
    """The ``[learner]`` table alone, so that a replay takes a full agent.toml as well as a short one."""
    fields = Fields(read_toml(file), file.name, ConfigError)
    return settings_from(LearnerSettings, fields.table("learner"))
