"""agent.toml -> one frozen dataclass; an unknown key is an error that names the nearest known one.

Each setting is declared once, here: default, limits, and the sentence that docs/configuration.md and
systemd/agent.toml show.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from edge_agent.answer_settings import AnswerSettings
from edge_agent.delivery_settings import DeliverySettings
from edge_agent.health_settings import HealthSettings
from edge_agent.labels_wanted_settings import LabelsWantedSettings
from edge_agent.learner_settings import LearnerSettings, PolicySettings
from edge_agent.remote_settings import RemoteSettings
from edge_agent.source_settings import SourceSettings
from edge_agent.trial_settings import TrialSettings
from headway.errors import ConfigError
from headway.fields import Fields
from headway.mqtt import MqttSettings
from headway.settings import (
    choice,
    integer,
    named_tables,
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
from headway.wire import Precision, SettingValue, checked_name

# each has a thread, and a queue of windows
SOURCES_MAX = 8
# folders in the spool: files that are worked on, and those that could not be used
CLAIMED, REJECTED = "claimed", "rejected"


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
    poll_interval_s: float = number(
        1.0,
        low=0.01,
        high=3600,
        remote=True,
        doc="Seconds between two looks into the spool folder; a file "
        "that is put there is seen at once where the kernel tells of it (inotify).",
    )
    file_bytes_max: int = integer(
        64 << 20,
        low=1024,
        doc="Longest file in bytes of which windows may be held in memory; a longer one is read in slices.",
    )
    inflated_bytes_max: int = integer(
        256 << 20,
        low=1024,
        doc="Most bytes that the arrays of one file may have once unpacked, if that is more than a "
        "hundred times its length.",
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
class SyncSettings:
    """How often the device talks to the aggregator, and how much it may keep for it."""

    interval_s: float = number(
        60.0, low=0.1, high=7 * 86_400, remote=True, doc="Seconds between two reports to the aggregator."
    )
    ack_timeout_s: float = number(
        30.0,
        low=0.1,
        high=86_400,
        remote=True,
        doc="Seconds to wait for the aggregator's acknowledgement before sending again.",
    )
    outbox_rows_max: int = integer(10_000, low=1, doc="Updates of the gradient learner that may wait to be sent.")
    outbox_bytes_max: int = integer(64 << 20, low=1 << 20, doc="Bytes that updates which wait to be sent may take.")
    update_precision: Precision = choice(
        Precision.FLOAT32,
        tuple(Precision),
        doc='How updates of the gradient learner travel: "float16" takes half the bytes, "int8" a quarter, '
        '"int8-packed" a sixth less again, which aggregators of release 0.2 refuse; what rounding takes from one '
        "update is added to the next.",
    )
    head_keys: Path | None = optional_path(
        doc="Take heads and priors of the fleet, settings, commands and orders of bundles only with the seal of one of "
        "these public keys, at most 4, one in each line (edge-fleet keygen makes them; edge-agent join writes the "
        "file).",
        example="/etc/headway/head-keys.pub",
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
        doc="Accept only bundles signed with this key (edge-convert keygen makes it).",
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
    answers: AnswerSettings = table(
        AnswerSettings(),
        "answers",
        doc="Where answers go beside the files in predictions_dir, and where labels come from beside the spool.",
    )
    labels_wanted: LabelsWantedSettings = table(
        LabelsWantedSettings(),
        "labels_wanted",
        doc="Windows for which the device asks people for labels, through the aggregator.",
    )
    remote: RemoteSettings = table(
        RemoteSettings(),
        "remote",
        doc="Settings that the aggregator may change from afar.",
    )
    sources: tuple[SourceSettings, ...] = named_tables(
        SourceSettings,
        "source",
        doc="Raw rows of a sensor, cut into windows as the bundle says (edge-convert --stream), or whole windows; "
        "leave this table out to take files alone. Several sensors have a table each, [source.NAME].",
    )
    status_dir: Path = path(
        "/run/headway",
        key="storage.status_dir",
        doc="Folder where a running agent tells those of its group what `edge-agent status` shows, since they may not "
        "look into state_dir; it tells nothing there while the folder does not exist.",
    )

    def __post_init__(self) -> None:
        checked_name(self.device, "device id")
        checked_name(self.fleet, "fleet")
        if self.mqtt is None and (self.answers.mqtt or self.answers.mqtt_labels or self.answers.home_assistant):
            raise ConfigError("[answers] asks for mqtt, but there is no [mqtt] table; say how to reach the broker")
        spool, answers = self.sensor.spool_dir, self.sensor.predictions_dir
        if self.state_dir in (spool, spool / CLAIMED, spool / REJECTED, answers):
            raise ConfigError(
                f"state_dir {self.state_dir} is the spool's, or that of answers; what it holds would be taken for "
                "their files: give it a folder of its own"
            )
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names) or len(names) > SOURCES_MAX:
            raise ConfigError(f"sources are called {', '.join(names[:20])}; give at most {SOURCES_MAX} with "
                              "different names, with which their windows' ids begin")  # fmt: skip


def read_config(file: Path, overruling: Mapping[str, SettingValue] | None = None) -> AgentConfig:
    """Read and check a configuration file; relative paths count from its folder. Raises ConfigError.

    overruling: values by ``table.key`` that win over the file's.
    """
    return config_of(read_toml(file), file, overruling)


def config_of(
    content: Mapping[str, object], file: Path, overruling: Mapping[str, SettingValue] | None = None
) -> AgentConfig:
    """The same from what was read of the file before. Raises ConfigError."""
    found = deepcopy(dict(content))
    for place, value in (overruling or {}).items():
        name, key = place.split(".")
        section = found.setdefault(name, {})
        if isinstance(section, dict):
            section[key] = value
    return settings_from(AgentConfig, Fields(found, file.name, ConfigError), base=file.resolve().parent)


def read_learner_settings(file: Path) -> LearnerSettings:
    """The ``[learner]`` table alone, so that a replay takes a full agent.toml as well as a short one."""
    fields = Fields(read_toml(file), file.name, ConfigError)
    return settings_from(LearnerSettings, fields.table("learner"))
