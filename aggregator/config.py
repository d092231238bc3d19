"""Reads the aggregator's settings from one TOML file into frozen dataclasses. Example: systemd/aggregator.toml."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aggregator.access import ApiSettings
from aggregator.alerts import EmailSettings, WebhookSettings
from aggregator.engine_settings import EngineSettings
from aggregator.enrolment import EnrolmentSettings
from aggregator.monitoring import MetricsSettings
from aggregator.policy import Policy
from aggregator.store import sqlite_url
from aggregator.worker_settings import WorkerSettings
from headway.errors import ConfigError
from headway.fields import Fields
from headway.mqtt import MqttSettings
from headway.names import checked_name
from headway.settings import integer, optional_path, path, read_toml, settings_from, table, text

log = logging.getLogger("headway.aggregator")

# with a relative file: an absolute one begins with a fourth slash, and ":memory:" and "file:" name no path of ours
SQLITE_FILE = re.compile(r"(?P<driver>sqlite(?:\+\w+)?):///(?!/|:|file:)(?P<file>[^?]+)(?P<options>\?.*)?")
# a fleet's acks leave in bursts: more may be in flight than a device ever needs; and one client makes no storm
MQTT_DEFAULT = MqttSettings(receive_max=1000, reconnect_spread_s=0.5)


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """What the service may hold in memory."""

    messages_per_transaction_max: int = integer(
        500, low=1, high=100_000, doc="Messages that share one transaction, which is one fsync."
    )
    queue_messages_max: int = integer(
        5_000,
        low=1,
        high=10_000_000,
        doc="Messages received and not yet stored; beyond it the network thread waits, and so does the broker.",
    )
    queue_bytes_max: int = integer(
        64 << 20,
        low=1 << 20,
        high=1 << 40,
        doc="The same in bytes: a fleet with many features sends messages of up to 128 KB. A quarter of it shares one "
        "transaction at most.",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `edge-fleet serve` needs. Raises ConfigError for a fleet's name that no topic can hold."""

    fleet: str = text(key="fleet.name", length_max=64, doc="Name of the fleet, a level of all its topics.")
    bundle: Path = path(
        key="bundle.path",
        formerly_here=True,
        doc="The bundle that the fleet runs: training statistics, feature space, classes and the frozen head.",
    )
    state_dir: Path = path(
        key="storage.state_dir", formerly_here=True, doc="Folder for everything that the aggregator must not lose."
    )
    database_url: str = text(
        "",
        key="storage.database_url",
        length_max=4096,
        doc="SQLAlchemy URL of another database; empty: SQLite in state_dir. A relative file of SQLite counts from the "
        "folder of this file.",
    )
    policy: Policy = table(Policy())
    signing_key: Path | None = optional_path(
        key="publish.signing_key",
        doc="Private key with which heads, priors, settings, commands and orders of bundles are sealed (edge-fleet "
        "keygen makes it; mode 0600). Devices whose "
        "[sync] head_keys holds its public half take no others; the others take them as before.",
        example="/etc/headway-server/heads.pem",
    )
    head_keys: Path | None = optional_path(
        key="publish.head_keys",
        doc="Public keys that a device gets when it joins, one in each line; by default that of signing_key. While "
        "keys change it holds the old one and the new one.",
        example="/etc/headway-server/head-keys.pub",
    )
    service: ServiceLimits = table(ServiceLimits(), "service", doc="What the service may hold in memory.")
    engine: EngineSettings = table(EngineSettings(), "engine", doc="Where heavy work is done.")
    workers: WorkerSettings = table(
        WorkerSettings(), "workers", doc="Processes that take in reports beside each other."
    )
    mqtt: MqttSettings = table(MQTT_DEFAULT, "mqtt", doc="How to reach the broker.")
    parent: MqttSettings = table(MqttSettings(), "parent", doc="How a region reaches its parent's broker.")
    webhook: WebhookSettings = table(WebhookSettings(), "webhook", doc="A web address that is told of alerts.")
    email: EmailSettings = table(EmailSettings(), "email", doc="Who is told of alerts by mail, by which relay.")
    metrics: MetricsSettings = table(MetricsSettings(), "metrics", doc="Where Prometheus scrapes.")
    enrolment: EnrolmentSettings = table(
        EnrolmentSettings(), "enrolment", doc="Where devices join, and what the broker needs for it."
    )
    api: ApiSettings = table(ApiSettings(), "api", doc="Where edge-fleet api listens, and what it takes.")

    def __post_init__(self) -> None:
        checked_name(self.fleet, "fleet")
        if self.workers.enabled and not self.database_url.startswith("postgres"):
            raise ConfigError(
                "[workers] enabled needs a PostgreSQL database: give its URL as [storage] database_url, or leave it out"
            )

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.database_url or sqlite_url(self.state_dir)


def read_settings(file: Path | None, given: Mapping[tuple[str, str], object] | None = None) -> Settings:
    """Read a configuration file, or none; a value in `given`, by (table, key), wins over the file's.

    Relative paths count from the file's folder. Raises ConfigError, one line with the place, the key and what it should
    be.
    """
    found = {} if file is None else read_toml(file)
    base = Path() if file is None else file.resolve().parent
    storage = found.get("storage")
    if isinstance(storage, dict) and isinstance(url := storage.get("database_url"), str):
        storage["database_url"] = _counted_from(base, url)
    for (name, key), value in (given or {}).items():
        section = found.setdefault(name, {})
        if isinstance(section, dict):
            section[key] = value
    return settings_from(Settings, Fields(found, "the options" if file is None else file.name, ConfigError), base=base)


def _counted_from(base: Path, url: str) -> str:
    """The URL with the file of an SQLite database as an absolute path; other URLs as they are."""
    match = SQLITE_FILE.fullmatch(url)
    if match is None:
        return url
    found, here = base / match["file"], Path(match["file"])
    if here.exists() and not found.exists():
        log.warning(
            "database_url: %s does not exist, so %s is taken, as before; relative files count from the folder of the "
            "configuration, and from the next release on from there alone: write the whole path",
            found,
            here.absolute(),
        )
        found = here.absolute()
    return f"{match['driver']}:///{found}{match['options'] or ''}"
