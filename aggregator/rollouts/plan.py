"""Reads the plan of a rollout: its stages and what each must show, from TOML or from the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
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

    soak_s: how long its trial, and then its devices with the new bundle, are watched at least. windows_min,
    devices_min: fewest labelled windows, and devices that have some, that decide. approve: wait for an operator before
    anything of it switches. The last four stand for those of the plan in this stage; None: the plan's.
    """

    devices: tuple[str, ...]
    share: float
    soak_s: float
    windows_min: int
    devices_min: int
    approve: bool
    group: str = ""
    margin: float | None = None
    errors: float | None = None
    failures_share_max: float | None = None
    latency_ratio_max: float | None = None


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
        meant = self.in_stage(stage)
        return Criteria(meant.margin, meant.errors, self.stages[stage].windows_min, self.stages[stage].devices_min)

    def in_stage(self, stage: int) -> Plan:
        """The same with the bounds that a stage has of its own. stage: from 0."""
        own = {name: getattr(self.stages[stage], name) for name in BOUNDS}
        return replace(self, **{name: value for name, value in own.items() if value is not None})

    def encode(self) -> str:
        """As JSON text."""
        return canonical_json(self.plain()).decode()

    def plain(self) -> dict[str, JsonValue]:
        """As a table, like that of the file."""
        table: dict[str, JsonValue] = {n: getattr(self, n) for n in self.__dataclass_fields__ if n not in LISTS}
        table["hours"] = list(self.hours)
        table["stages"] = [
            {n: list(value) if n == "devices" else value for n, value in asdict(stage).items() if value is not None}
            for stage in self.stages
        ]
        return table


LISTS = ("stages", "hours")
# of the plan, and of a stage that has its own: the least and the most that each may be
BOUNDS = {
    "margin": (0.0, 2.0), "errors": (0.0, 10.0), "failures_share_max": (0.0, 1.0), "latency_ratio_max": (0.0, 1000.0),
}  # fmt: skip


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
        _bound(fields, "margin", 0.05),
        _bound(fields, "errors", 2.0),
        fields.integer("max_at_once", 50, low=1, high=100_000),
        fields.number("patience_s", 7 * DAY_S, low=1.0, high=400 * DAY_S),
        _bound(fields, "failures_share_max", 0.1),
        _bound(fields, "latency_ratio_max", 2.0),
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
        **{name: _bound(table, name, 0.0) for name in BOUNDS if table.has(name)},
    )
    table.finish()
    return stage


def _bound(fields: Fields, name: str, default: float) -> float:
    low, high = BOUNDS[name]
    return fields.number(name, default, low=low, high=high)
