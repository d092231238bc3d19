"""Declares what commands ask of a fleet, wherever it is. Errors are those of headway.errors on both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from aggregator.access import Role
from aggregator.inbox import InboxPage, LabelAct
from aggregator.operations import (
    BundleUse,
    Commanded,
    CommandSummary,
    DayPage,
    DeliveryView,
    DeviceInFull,
    GroupView,
    RolloutDeviceView,
    RolloutView,
    SilenceWanted,
    SpaceView,
    TokenView,
    UserView,
)
from aggregator.registry import Overview, Page, Request
from aggregator.rollouts import Act, Plan, StageForecast
from aggregator.store import DeliveryRow, EventRow, RefusalRow
from aggregator.store.rows import AlertRow, AuditRow, RemovalRow, SilenceRow
from headway.fields import JsonValue
from headway.wire import SettingValue

if TYPE_CHECKING:
    from aggregator.operations.enrolment import CertificateView
    from headway_client import models


class Figures(Protocol):
    """What the page draws, to look up. space: a feature space."""

    def fields(self) -> list[models.FieldView]:
        """What devices do now, of each feature space."""
        ...

    def head_versions(self, space: str) -> list[models.HeadVersion]:
        """The newest first."""
        ...

    def compare_heads(self, space: str, first: int, second: int) -> models.ComparedHeads: ...

    def heads_of(self, device: str) -> list[models.HeadSpanView]:
        """Each time that another head began to serve on a device, the oldest first."""
        ...

    def confusion(self, device: str) -> models.ConfusionView: ...

    def stages(self, rollout: str) -> list[models.StageView]: ...


class Fleet(Protocol):
    """Each method is one request, or one transaction. Raises ConfigError, StoreError, TransportError."""

    @property
    def figures(self) -> Figures: ...

    def device_page(self, request: Request) -> Page: ...

    def device(self, name: str, days_max: int) -> DeviceInFull: ...

    def refusals(self) -> list[RefusalRow]: ...

    def overview(self) -> Overview: ...

    def events(self, device: str, name: str, count_max: int) -> list[EventRow]:
        """The newest first. device, name: '' for all."""
        ...

    def events_after(self, number: int, count_max: int) -> list[tuple[int, EventRow]]:
        """Behind a number, each with its own, the oldest first."""
        ...

    def day_page(self, after: str) -> DayPage:
        """What devices did on each day. after: `DayPage.next` of the page before."""
        ...

    def spaces(self) -> list[SpaceView]: ...

    def hold_head(self, space: str, version: int) -> None:
        """Ask the running service to; version 0 lets the held one go."""
        ...

    def bundle_use(self) -> list[BundleUse]: ...

    def tag(self, devices: Sequence[str], wanted: str, given: Mapping[str, str], unset: Sequence[str]) -> int:
        """How many devices were tagged."""
        ...

    def note(self, name: str, text: str) -> None: ...

    def groups(self) -> list[GroupView]: ...

    def save_group(self, name: str, wanted: str) -> GroupView: ...

    def change_list(self, name: str, add: Sequence[str], remove: Sequence[str]) -> GroupView: ...

    def forget_group(self, name: str) -> None: ...

    def quarantine(self, name: str, reason: str) -> None: ...

    def readmit(self, name: str) -> None: ...

    def remove(self, name: str) -> None:
        """Ask the running service to."""
        ...

    def is_removed(self, name: str) -> bool:
        """Whether it has done so."""
        ...

    def forget(self, name: str, since_s: float) -> None:
        """Ask the running service to set a device back to its newest mark before then."""
        ...

    def is_forgotten(self, name: str) -> bool:
        """Whether it has done so."""
        ...

    def removals(self) -> list[RemovalRow]: ...

    def keep_bundle(self, bundle: Path, public_key: Path | None) -> DeliveryRow:
        """Keep a bundle where the fleet's devices get it from. public_key: refuse what is not signed with it."""
        ...

    def order(self, row: DeliveryRow, devices: Sequence[str], everybody: bool) -> int:
        """For how many devices. row: of `keep_bundle`, or `NO_BUNDLE`."""
        ...

    def deliveries(self) -> list[DeliveryView]: ...

    def begin_rollout(self, name: str, plan: Plan, row: DeliveryRow) -> None: ...

    def forecast(self, name: str, plan: Plan, release: int) -> list[StageForecast]: ...

    def rollouts(self) -> list[RolloutView]: ...

    def rollout(self, name: str) -> tuple[RolloutView, list[RolloutDeviceView]]: ...

    def act_on_rollout(self, name: str, act: Act, remark: str) -> None: ...

    def new_code(self, device: str, groups: Sequence[str], reusable: bool, count_max: int, expires: str) -> str:
        """A join code. expires: as people write it, 24h."""
        ...

    def revoke(self, device: str) -> int:
        """How many certificates were good until now."""
        ...

    def certificates(self) -> list[CertificateView]: ...

    def audit(self) -> list[AuditRow]:
        """Every entry, the oldest first."""
        ...

    def audit_page(self, after: int, count_max: int) -> list[AuditRow]:
        """Entries behind a number, the oldest first."""
        ...

    def audit_problems(self) -> list[str]: ...

    def command(self, device: str, name: str, arguments: Mapping[str, JsonValue], expires: str) -> models.DeviceCommand:
        """Ask a device for something. expires: as people write it, 24h."""
        ...

    def command_many(
        self, wanted: str, group: str, name: str, arguments: Mapping[str, JsonValue], expires: str
    ) -> Commanded:
        """Ask every device that meets a filter, or belongs to a group."""
        ...

    def command_summary(self, number: int) -> CommandSummary: ...

    def commands_with(self, number: int) -> list[models.DeviceCommand]:
        """Those that were asked for together with the one of this number, by device."""
        ...

    def commands(self, device: str) -> list[models.DeviceCommand]:
        """What was asked of a device, the oldest first."""
        ...

    def inbox(self, kind: str, after: str, count_max: int) -> InboxPage:
        """What waits for a person. kind: empty for all; after: `next` of the page before."""
        ...

    def labels_wanted(self, device: str) -> models.WantedLabels: ...

    def label(self, device: str, window: str, act: LabelAct, class_name: str) -> models.GivenAct:
        """Say something of a window."""
        ...

    def label_many(self, device: str, labels: Sequence[tuple[str, str]]) -> list[models.GivenAct]:
        """Windows with their classes, all or none of them."""
        ...

    def configure(
        self, scope: str, name: str, values: Mapping[str, SettingValue], unset: Sequence[str], priority: int | None
    ) -> Mapping[str, SettingValue]:
        """What is wanted there from now on."""
        ...

    def wanted_settings(self) -> list[models.WantedSettings]: ...

    def device_settings(self, name: str) -> models.DeviceSettings: ...

    def alerts(self, closed_too: bool) -> list[tuple[AlertRow, bool]]:
        """And whether each is silenced."""
        ...

    def channel_problems(self) -> list[str]: ...

    def acknowledge(self, number: int, remark: str) -> str:
        """The alert's subject."""
        ...

    def alert_rules(self) -> list[models.Rule]: ...

    def set_alert_rule(
        self, name: str, looks_at: Mapping[str, str], severity: str | None, for_s: float | None, enabled: bool | None
    ) -> bool:
        """Whether it is on now. looks_at: condition by what it watches, one at most."""
        ...

    def forget_alert_rule(self, name: str) -> bool:
        """Whether it is built in."""
        ...

    def silence(self, wanted: SilenceWanted) -> SilenceRow: ...

    def end_silence(self, number: int) -> None: ...

    def silences(self) -> list[SilenceRow]: ...

    def users(self) -> list[UserView]: ...

    def put_user(self, name: str, role: Role | None, password: str | None, new: bool) -> UserView:
        """role, password: None keeps what there is. new: refuse a user that is there, else one that is not."""
        ...

    def remove_user(self, name: str) -> None: ...

    def tokens(self) -> list[TokenView]: ...

    def new_token(self, user: str, label: str, role: Role | None, expires: str) -> str: ...

    def revoke_token(self, id: str) -> None: ...
