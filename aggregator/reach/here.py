"""Reaches the fleet of this machine: its store, in one transaction for each request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from aggregator import audit, operations
from aggregator.access import Role
from aggregator.config import Settings
from aggregator.durations import duration_s
from aggregator.inbox import InboxPage, LabelAct
from aggregator.operations import (
    BundleUse,
    Commanded,
    CommandSummary,
    DayPage,
    DeliveryView,
    DeviceInFull,
    GroupView,
    Operator,
    RolloutDeviceView,
    RolloutView,
    SilenceWanted,
    SpaceView,
    TokenView,
    UserView,
)
from aggregator.reach.figures_here import LocalFigures
from aggregator.registry import Overview, Page, Request, backfill, lacks_rows, overview
from aggregator.rollouts import Act, Plan, StageForecast, forecast
from aggregator.store import DeliveryRow, EventQuery, EventRow, RefusalRow, Store
from aggregator.store.rows import AlertRow, AuditRow, RemovalRow, SilenceRow
from headway.errors import ConflictError
from headway.fields import JsonValue
from headway.ports import Clock
from headway.wire import SettingValue

if TYPE_CHECKING:
    from aggregator.operations.enrolment import CertificateView
    from headway_client import models

T = TypeVar("T")
# of each page of days
DAYS_DEVICES = 500


class LocalFleet:
    """Implements `Fleet`. open_store, read_settings, folder: where they are is found out when they are needed."""

    def __init__(
        self,
        open_store: Callable[[], Store],
        read_settings: Callable[[], Settings],
        folder: Callable[[], Path],
        clock: Clock,
    ) -> None:
        self._open_store, self._read_settings, self._folder, self._clock = open_store, read_settings, folder, clock

    @cached_property
    def _store(self) -> Store:
        return self._open_store()

    def _do(self, asked: Callable[[Operator], T]) -> T:
        with self._store.transaction():
            return asked(Operator.local(self._store, self._clock))

    def _look(self, asked: Callable[[Operator], T]) -> T:
        """Without holding anybody up."""
        store = self._whole
        with store.reading():
            return asked(Operator.local(store, self._clock))

    @cached_property
    def _whole(self) -> Store:
        """The store, with a row for every device, which who only looks cannot write."""
        with self._store.reading():
            lacking = lacks_rows(self._store)
        if lacking:
            with self._store.transaction():
                backfill(self._store)
        return self._store

    @property
    def figures(self) -> LocalFigures:
        return LocalFigures(self._look, self._folder)

    def device_page(self, request: Request) -> Page:
        return self._look(lambda operator: operations.device_page(operator, request))

    def device(self, name: str, days_max: int) -> DeviceInFull:
        return self._look(lambda operator: operations.device_in_full(operator, name, days_max))

    def refusals(self) -> list[RefusalRow]:
        return self._look(lambda operator: operator.store.refusals())

    def overview(self) -> Overview:
        return self._look(lambda operator: overview(operator.store, operator.now_s))

    def events(self, device: str, name: str, count_max: int) -> list[EventRow]:
        query = EventQuery(device, name, count_max=count_max)
        return self._look(lambda operator: [row for _, row in operator.store.find_events(query)])

    def events_after(self, number: int, count_max: int) -> list[tuple[int, EventRow]]:
        return self._look(lambda operator: operator.store.find_events(EventQuery(after=number, count_max=count_max)))

    def day_page(self, after: str) -> DayPage:
        return self._look(lambda operator: operations.day_page(operator, after, DAYS_DEVICES))

    def spaces(self) -> list[SpaceView]:
        return self._look(lambda operator: operations.list_spaces(operator.store))

    def hold_head(self, space: str, version: int) -> None:
        if version:
            self._do(lambda operator: operations.hold_head(operator, space, version))
        else:
            self._do(lambda operator: operations.let_go(operator, space))

    def bundle_use(self) -> list[BundleUse]:
        files = operations.handed_out(self._folder())
        return self._look(lambda operator: operations.bundle_use(operator.store, files))

    def tag(self, devices: Sequence[str], wanted: str, given: Mapping[str, str], unset: Sequence[str]) -> int:
        return self._do(lambda operator: len(operations.tag_devices(operator, devices, wanted, given, unset)))

    def note(self, name: str, text: str) -> None:
        self._do(lambda operator: operations.note_device(operator, name, text))

    def groups(self) -> list[GroupView]:
        return self._look(operations.list_groups)

    def save_group(self, name: str, wanted: str) -> GroupView:
        return self._do(lambda operator: operations.save_group(operator, name, wanted))

    def change_list(self, name: str, add: Sequence[str], remove: Sequence[str]) -> GroupView:
        return self._do(lambda operator: operations.change_list(operator, name, add, remove))

    def forget_group(self, name: str) -> None:
        self._do(lambda operator: operations.forget_group(operator, name))

    def quarantine(self, name: str, reason: str) -> None:
        self._do(lambda operator: operations.quarantine_device(operator, name, reason))

    def readmit(self, name: str) -> None:
        self._do(lambda operator: operations.readmit_device(operator, name))

    def remove(self, name: str) -> None:
        self._do(lambda operator: operations.request_removal(operator, name))

    def is_removed(self, name: str) -> bool:
        return self._look(lambda operator: name not in operator.store.removal_requests())

    def forget(self, name: str, since_s: float) -> None:
        self._do(lambda operator: operations.request_forgetting(operator, name, since_s))

    def is_forgotten(self, name: str) -> bool:
        return self._look(lambda operator: not operations.forgetting(operator, name))

    def removals(self) -> list[RemovalRow]:
        return self._look(operations.list_removals)

    def keep_bundle(self, bundle: Path, public_key: Path | None) -> DeliveryRow:
        self._look(lambda operator: None)  # a folder in which no service has run is refused before anything is copied
        return operations.shelve(bundle, self._folder(), public_key, self._clock.wall_s())

    def order(self, row: DeliveryRow, devices: Sequence[str], everybody: bool) -> int:
        return self._do(lambda operator: len(operations.order_bundle(operator, row, devices, everybody)))

    def deliveries(self) -> list[DeliveryView]:
        return self._look(lambda operator: operations.list_deliveries(operator.store))

    def begin_rollout(self, name: str, plan: Plan, row: DeliveryRow) -> None:
        self._do(lambda operator: operations.begin_rollout(operator, name, plan, row))

    def forecast(self, name: str, plan: Plan, release: int) -> list[StageForecast]:
        return self._look(lambda operator: forecast(operator.store, name, plan, operator.now_s, release))

    def rollouts(self) -> list[RolloutView]:
        return self._look(lambda operator: operations.list_rollouts(operator.store))

    def rollout(self, name: str) -> tuple[RolloutView, list[RolloutDeviceView]]:
        return self._look(
            lambda operator: (
                operations.rollout_view(operator.store, name), operations.rollout_devices(operator.store, name)
            )
        )  # fmt: skip

    def act_on_rollout(self, name: str, act: Act, remark: str) -> None:
        self._do(lambda operator: operations.act_on_rollout(operator, name, act, remark))

    def new_code(self, device: str, groups: Sequence[str], reusable: bool, count_max: int, expires: str) -> str:
        from aggregator.operations.enrolment import new_code, opened

        enrolment, _ = opened(self._read_settings(), self._clock, lambda: self._store)
        lasts_s = duration_s(expires)
        return self._do(
            lambda operator: new_code(enrolment, operator, device, groups, reusable, count_max, lasts_s).text
        )

    def revoke(self, device: str) -> int:
        from aggregator.operations.enrolment import revoke

        return revoke(device, audit.local_user(), self._read_settings(), self._clock, self._store)

    def certificates(self) -> list[CertificateView]:
        from aggregator.operations.enrolment import list_certificates

        return self._look(lambda operator: list_certificates(operator.store, operator.now_s))

    def audit(self) -> list[AuditRow]:
        return self._look(lambda operator: list(audit.entries(operator.store)))

    def audit_page(self, after: int, count_max: int) -> list[AuditRow]:
        return self._look(lambda operator: operations.audit_page(operator.store, after, count_max))

    def audit_problems(self) -> list[str]:
        return self._look(lambda operator: audit.problems(operator.store))

    def command(self, device: str, name: str, arguments: Mapping[str, JsonValue], expires: str) -> models.DeviceCommand:
        seconds = duration_s(expires)

        def ask(operator: Operator) -> object:
            row = operations.command_device(operator, device, name, arguments, seconds)
            return operations.plain_command(row) | {"takes_commands": operations.takes_commands(operator, device)}

        return cast("models.DeviceCommand", self._do(ask))

    def command_many(
        self, wanted: str, group: str, name: str, arguments: Mapping[str, JsonValue], expires: str
    ) -> Commanded:
        seconds = duration_s(expires)
        return self._do(lambda operator: operations.command_devices(operator, wanted, group, name, arguments, seconds))

    def command_summary(self, number: int) -> CommandSummary:
        return self._look(lambda operator: operations.command_summary(operator.store, number))

    def commands_with(self, number: int) -> list[models.DeviceCommand]:
        def asked(operator: Operator) -> object:
            return [
                operations.plain_command(row) | {"takes_commands": operations.takes_commands(operator, row.device)}
                for row in operations.together(operator.store, number)
            ]

        return cast("list[models.DeviceCommand]", self._look(asked))

    def commands(self, device: str) -> list[models.DeviceCommand]:
        def asked(operator: Operator) -> object:
            takes = operations.takes_commands(operator, device)
            rows = operations.list_commands(operator, device)
            return [operations.plain_command(row) | {"takes_commands": takes} for row in rows]

        return cast("list[models.DeviceCommand]", self._look(asked))

    def inbox(self, kind: str, after: str, count_max: int) -> InboxPage:
        return self._look(lambda operator: operations.show_inbox(operator, kind, after, count_max))

    def labels_wanted(self, device: str) -> models.WantedLabels:
        def asked(operator: Operator) -> object:
            return operations.plain_wanted_labels(operations.labels_wanted(operator, device))

        return cast("models.WantedLabels", self._look(asked))

    def label(self, device: str, window: str, act: LabelAct, class_name: str) -> models.GivenAct:
        def do(operator: Operator) -> object:
            return operations.plain_act(operations.label_window(operator, device, window, act, class_name))

        return cast("models.GivenAct", self._do(do))

    def label_many(self, device: str, labels: Sequence[tuple[str, str]]) -> list[models.GivenAct]:
        def do(operator: Operator) -> object:
            return [operations.plain_act(row) for row in operations.label_windows(operator, device, labels)]

        return cast("list[models.GivenAct]", self._do(do))

    def configure(
        self, scope: str, name: str, values: Mapping[str, SettingValue], unset: Sequence[str], priority: int | None
    ) -> Mapping[str, SettingValue]:
        return self._do(lambda operator: operations.configure(operator, scope, name, values, unset, priority))

    def wanted_settings(self) -> list[models.WantedSettings]:
        rows = self._look(lambda operator: operations.plain_wanted(operator.store))
        return cast("list[models.WantedSettings]", rows)

    def device_settings(self, name: str) -> models.DeviceSettings:
        view = self._look(lambda operator: operations.device_settings(operator, name))
        return cast("models.DeviceSettings", operations.plain_settings(view))

    def alerts(self, closed_too: bool) -> list[tuple[AlertRow, bool]]:
        return self._look(lambda operator: operations.list_alerts(operator, closed_too))

    def channel_problems(self) -> list[str]:
        return self._look(operations.channel_problems)

    def acknowledge(self, number: int, remark: str) -> str:
        return self._do(lambda operator: operations.acknowledge_alert(operator, number, remark).subject)

    def alert_rules(self) -> list[models.Rule]:
        rules = self._look(operations.list_rules)
        return cast("list[models.Rule]", [operations.plain_rule(rule) for rule in rules])

    def set_alert_rule(
        self, name: str, looks_at: Mapping[str, str], severity: str | None, for_s: float | None, enabled: bool | None
    ) -> bool:
        return self._do(
            lambda operator: operations.set_rule(operator, name, looks_at, severity, for_s, enabled).enabled
        )

    def forget_alert_rule(self, name: str) -> bool:
        return self._do(lambda operator: operations.forget_rule(operator, name))

    def silence(self, wanted: SilenceWanted) -> SilenceRow:
        return self._do(lambda operator: operations.silence_alerts(operator, wanted))

    def end_silence(self, number: int) -> None:
        self._do(lambda operator: operations.unsilence_alerts(operator, number))

    def silences(self) -> list[SilenceRow]:
        return self._look(operations.list_silences)

    def users(self) -> list[UserView]:
        return self._look(lambda operator: operations.list_users(operator.store))

    def put_user(self, name: str, role: Role | None, password: str | None, new: bool) -> UserView:
        from aggregator.access.passwords import hashed

        digest = None if password is None else hashed(password)

        def put(operator: Operator) -> UserView:
            there = name in {view.user for view in operations.list_users(operator.store)}
            if new and there:
                raise ConflictError(f"there is a user {name!r} already; edge-fleet users role changes what they may")
            known = Role.VIEWER if new else Role(operations.user_row(operator.store, name).role)
            return operations.put_user(operator, name, role or known, digest)

        return self._do(put)

    def remove_user(self, name: str) -> None:
        self._do(lambda operator: operations.remove_user(operator, name))

    def tokens(self) -> list[TokenView]:
        return self._look(lambda operator: operations.list_tokens(operator.store))

    def new_token(self, user: str, label: str, role: Role | None, expires: str) -> str:
        lasts_s = duration_s(expires)
        return self._do(lambda operator: operations.create_token(operator, user, label, role, lasts_s).token)

    def revoke_token(self, id: str) -> None:
        self._do(lambda operator: operations.revoke_token(operator, id))
