"""Everything that the place of one device shows, read in one picture of the store."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.operations import (
    FORGET_CLASS,
    ConfusionView,
    DeviceInFull,
    Operator,
    can_do,
    device_confusion,
    device_in_full,
    device_settings,
    forgetting,
    labels_wanted,
    list_commands,
    takes_commands,
)
from aggregator.page.device.asked import AskedCommand, asked_commands
from aggregator.page.device.asking import Asking, asking_of
from aggregator.page.device.confusion import Confusion, confusion_shown
from aggregator.page.device.history import DAYS_SHOWN, History, history_of
from aggregator.page.device.telling import HEAD_CHANGED, Told, told
from aggregator.page.fleet import Bar, bar_of, bar_of_heads, recent_days, recent_spans
from aggregator.registry import days_of
from aggregator.twins import SettingsView
from headway.fields import JsonValue

DAY_S = 86_400
EVENTS_READ, EVENTS_SHOWN, DECISIONS_SHOWN = 500, 40, 12


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One setting. wanted: of whom, in words; differs: what holds is not what is wanted."""

    key: str
    holds: str
    wanted: str
    by: str
    reason: str
    differs: bool

    @property
    def matters(self) -> bool:
        """Whether anybody has to do with it beside the device's own file."""
        return bool(self.differs or self.wanted or self.reason)


@dataclass(frozen=True, slots=True)
class DeviceShown:
    """bar: by day; heads: by head that served. inner: what only people with a name see; None for a share link."""

    full: DeviceInFull
    bar: Bar
    heads: Bar
    history: History
    measured: ConfusionView
    confusion: Confusion | None
    inner: Inner | None


@dataclass(frozen=True, slots=True)
class Inner:
    """decisions: changes of the head; events: all newest ones; state: of the settings, in a word; asking: which
    windows it wants to know; setting_back: it was asked for, and the service has still to do it."""

    decisions: tuple[Told, ...]
    events: tuple[Told, ...]
    commands: tuple[AskedCommand, ...]
    takes_commands: bool
    settings: tuple[SettingLine, ...]
    settings_state: str
    settings_problem: str
    changeable: tuple[str, ...]
    setting_back: bool
    forgets_classes: bool
    asking: Asking


def device_shown(operator: Operator, name: str, inner: bool) -> DeviceShown:
    """Raises UnknownNameError."""
    full = device_in_full(operator, name, 0)
    store, row = operator.store, full.view.row
    today = int(operator.now_s // DAY_S)
    events = store.events(EVENTS_READ, name) if inner else []
    measured = device_confusion(operator, name)
    return DeviceShown(
        full,
        bar_of(row, recent_days(store, [name], today)[name], today),
        bar_of_heads(recent_spans(store, [name])[name]),
        history_of(row, days_of(store, row, DAYS_SHOWN), events, operator.now_s),
        measured,
        confusion_shown(measured) if measured.classes else None,
        _inner(operator, name, [told(event) for event in events]) if inner else None,
    )


def _inner(operator: Operator, name: str, events: list[Told]) -> Inner:
    view = device_settings(operator, name)
    return Inner(
        tuple(each for each in events if each.name == HEAD_CHANGED)[:DECISIONS_SHOWN],
        tuple(events[:EVENTS_SHOWN]),
        asked_commands(list_commands(operator, name)),
        takes_commands(operator, name),
        _settings(view),
        view.words,
        "" if view.state is None else view.state.problem,
        () if view.state is None else tuple(sorted(view.state.values)),
        forgetting(operator, name),
        can_do(operator, name, FORGET_CLASS),
        asking_of(labels_wanted(operator, name)),
    )


def _settings(view: SettingsView) -> tuple[SettingLine, ...]:
    """Those that differ first, then those that are wanted, then the others, by name."""
    holds = {} if view.state is None else dict(view.state.values)
    refused = {} if view.state is None else dict(view.state.refused)
    differing = {each.key for each in view.differences}
    lines = []
    for key in sorted(
        {*holds, *view.wanted, *refused}, key=lambda key: (key not in differing, key not in view.wanted, key)
    ):
        wanted = view.wanted.get(key)
        by = "" if wanted is None else f"{wanted.scope} {wanted.name}".strip()
        lines.append(SettingLine(
            key, _written(holds[key]) if key in holds else "", "" if wanted is None else _written(wanted.value), by,
            refused.get(key, ""), key in differing,
        ))  # fmt: skip
    return tuple(lines)


def _written(value: JsonValue) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
