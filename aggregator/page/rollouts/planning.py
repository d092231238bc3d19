"""A rollout that somebody thinks of: what a form says of it, the plan that follows, and what each stage would be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from aggregator.durations import duration_s
from aggregator.operations import Operator, list_groups, list_rollouts, who_is_in
from aggregator.rollouts import OPEN, Plan, StageForecast, State, forecast, plan_of
from aggregator.store import DeliveryRow
from headway.errors import ConfigError, HeadwayError, UnknownNameError
from headway.wire import checked_name

FIELDS = ("name", "bundle", "first", "group", "shares", "soak", "windows", "devices", "margin", "approve")
DEFAULTS = {
    "name": "", "bundle": "", "first": "", "group": "", "shares": "5, 25, 100", "soak": "1d", "windows": "50",
    "devices": "3", "margin": "0.05", "approve": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Thought:
    """The fields of the form, as they were typed."""

    fields: Mapping[str, str]

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Thought:
        """What is missing has its default, but for a box that is not ticked in a form that was sent."""
        sent = bool(given.get("name") or given.get("bundle"))
        found = {name: given.get(name, DEFAULTS[name] if not sent or name != "approve" else "") for name in FIELDS}
        return cls({name: value.strip() for name, value in found.items()})

    @property
    def query(self) -> str:
        """As it stands in an address."""
        return urlencode({name: value for name, value in self.fields.items() if value != DEFAULTS[name]})

    @property
    def name(self) -> str:
        return self.fields["name"]

    @property
    def bundle(self) -> str:
        return self.fields["bundle"]

    def plan(self) -> Plan:
        """Raises ConfigError, one line with what was wrong."""
        fields = self.fields
        judged: dict[str, object] = {
            "soak_s": duration_s(fields["soak"]) if fields["soak"] not in ("", "0") else 0.0,
            "windows_min": int(_number(fields["windows"], "labelled windows")),
            "devices_min": int(_number(fields["devices"], "devices with labels")),
            "approve": bool(fields["approve"]),
        }
        stages: list[dict[str, object]] = []
        first = [name.strip() for name in fields["first"].split(",") if name.strip()]
        if first:
            stages.append({"devices": first, **judged})
        if fields["group"]:
            stages.append({"group": fields["group"], **judged})
        for share in fields["shares"].split(","):
            if share.strip():
                stages.append({"share": _number(share.strip().rstrip("% "), "a share") / 100.0, **judged})
        return plan_of({"stages": stages, "margin": _number(fields["margin"], "the margin")})


@dataclass(frozen=True, slots=True)
class StageAhead:
    """A stage that would be. who: in words; forecast: what is known of it."""

    number: int
    who: str
    forecast: StageForecast


@dataclass(frozen=True, slots=True)
class Dry:
    """stages: none where problem says why. bundle: None where none was chosen."""

    groups: tuple[str, ...]
    names: tuple[str, ...]
    busy: str
    bundle: DeliveryRow | None = None
    stages: tuple[StageAhead, ...] = ()
    problem: str = ""


def dry_run(operator: Operator, thought: Thought, bundles: list[DeliveryRow]) -> Dry:
    """What would become of it; nothing is written. bundles: that are kept."""
    groups = tuple(group.group for group in list_groups(operator))
    rollouts = list_rollouts(operator.store)
    names, busy = tuple(one.rollout for one in rollouts), [one for one in rollouts if State(one.state) in OPEN]
    empty = Dry(groups, names, busy[0].rollout if busy else "")
    if not thought.name and not thought.bundle:
        return empty
    try:
        bundle = next((row for row in bundles if row.sha256 == thought.bundle), None)
        if bundle is None:
            raise UnknownNameError("choose a bundle that is kept here")
        if checked_name(thought.name, "rollout") in names:
            raise ConfigError(f"there is a rollout {thought.name!r} already; take another name")
        plan = thought.plan()
        found = forecast(operator.store, thought.name, plan, operator.now_s, bundle.release)
    except HeadwayError as error:
        return Dry(groups, names, empty.busy, problem=str(error))
    ahead = tuple(
        StageAhead(number + 1, who_is_in(plan, number), each) for number, each in enumerate(found)
    )  # fmt: skip
    return Dry(groups, names, empty.busy, bundle, ahead)


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"{what} must be a number, got {text[:40]!r}") from error
