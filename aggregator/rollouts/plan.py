"""Reads the plan of a rollout: its stages and what each must show, from TOML or from the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aggregator.rollouts.verdict import Criteria
from headway.errors import ConfigError, HeadwayError, StoreError
from headway.fields import Fields, JsonValue, canonical_json, parse_json
from headway.settings import read_toml
from headway.wire import checked_name

STAGES_MAX = 32
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage. devices: named ones; or share: of the fleet (0 to 1), those of the stages before included; or group:
    whoever belongs to it.

    soak_s: how long its trial, and then its devices with the new bundle, are watched at least. approve: wait for an
    operator before anything of it switches.
    """

    devices: tuple[str, ...]
    share: float
    soak_s: float
    windows_min: int
    devices_min: int
    approve: bool
    group: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole rollout. max_at_once: devices that download or switch at one time. patience_s: of a trial that stays
    undecided, or a switch that does not end, before it pauses. failures_share_max: of a stage's devices on which the
    bundle failed. latency_ratio_max: of a window, new over old, the median over devices. start_within_s: devices of
    a stage begin at random times within it. hours: UTC hours of the day in which devices switch, none for any."""

    stages: tuple[Stage, ...]
    margin: float
    errors: float
    max_at_once: int
    patience_s: float
    failures_share_max: float
    latency_ratio_max: float
    start_within_s: float
    hours: tuple[int, ...]

    def criteria(self, stage: int) -> Criteria:
        """What the labels of a stage must show."""
        return Criteria(self.margin, self.errors, self.stages[stage].windows_min, self.stages[stage].devices_min)

    def encode(self) -> str:
        """As JSON text."""
        return canonical_json(self.plain()).decode()

    def plain(self) -> dict[str, JsonValue]:
        """As a table, like that of the file."""
        table: dict[str, JsonValue] = {n: getattr(self, n) for n in self.__dataclass_fields__ if n not in LISTS}
        table["hours"] = list(self.hours)
        table["stages"] = [
            {**{n: getattr(stage, n) for n in stage.__dataclass_fields__}, "devices": list(stage.devices)}
            for stage in self.stages
        ]
        return table


LISTS = ("stages", "hours")


def read_plan(file: Path) -> Plan:
    """From TOML; what it leaves out has defaults. Raises ConfigError, one line with what was wrong."""
    return _plan(Fields(read_toml(file), file.name, ConfigError))


def plan_of(table: Mapping[str, object]) -> Plan:
    """From a table like that of the file. Raises ConfigError."""
    return _plan(Fields(dict(table), "plan", ConfigError))


def stored_plan(text: str) -> Plan:
    """Inverse of `Plan.encode`. Raises StoreError."""
    return _plan(Fields(parse_json(text.encode(), "plan", StoreError), "stored plan", StoreError))


def default_plan(canaries: Iterable[str] = ()) -> Plan:
    """5 % of the devices or the named ones, a quarter, then all; a day each."""
    stages = ({"devices": list(canaries)} if canaries else {"share": 0.05}, {"share": 0.25}, {"share": 1.0})
    return _plan(Fields({"stages": list(stages)}, "plan", ConfigError))


def _plan(fields: Fields) -> Plan:
    stages = tuple(_stage(table, fields.error) for table in fields.tables("stages", count_max=STAGES_MAX))
    plan = Plan(
        stages,
        fields.number("margin", 0.05, low=0.0, high=2.0),
        fields.number("errors", 2.0, low=0.0, high=10.0),
        fields.integer("max_at_once", 50, low=1, high=100_000),
        fields.number("patience_s", 7 * DAY_S, low=1.0, high=400 * DAY_S),
        fields.number("failures_share_max", 0.1, low=0.0, high=1.0),
        fields.number("latency_ratio_max", 2.0, low=0.0, high=1000.0),
        fields.number("start_within_s", 0.0, low=0.0, high=DAY_S),
        fields.integers("hours", low=0, high=23, count_max=24, default=()),
    )
    fields.finish()
    if not stages:
        raise fields.error(f"{fields.where} has no stage; write [[stages]] with share = 0.05, for example")
    shares = [stage.share for stage in stages if stage.share]
    if shares != sorted(shares):
        raise fields.error(f"{fields.where}: shares of the stages must grow, they are {', '.join(map(str, shares))}")
    return plan


def _stage(table: Fields, error: type[HeadwayError]) -> Stage:
    devices = table.strings("devices", ())
    share = table.number("share", 0.0, low=0.0, high=1.0)
    group = table.text("group", "", length_max=64)
    if sum(map(bool, (devices, share, group))) != 1:
        raise error(f"{table.where} must have either devices or a share of the fleet above 0 or a group")
    if group:
        checked_name(group, "group")
    for device in devices:
        checked_name(device, "device")
    stage = Stage(
        devices,
        share,
        table.number("soak_s", DAY_S, low=0.0, high=400 * DAY_S),
        table.integer("windows_min", 50, low=2),
        table.integer("devices_min", 3, low=2),
        table.boolean("approve", False),
        group,
    )
    table.finish()
    return stage
