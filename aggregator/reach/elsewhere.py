"""Reaches a fleet elsewhere, through its API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from aggregator.access import Role
from aggregator.inbox import InboxItem, InboxPage, LabelAct
from aggregator.operations import (
    BundleUse,
    Commanded,
    CommandSummary,
    DayPage,
    DayView,
    DeliveryView,
    DeviceDay,
    DeviceInFull,
    GroupView,
    NotAsked,
    RolloutDeviceView,
    RolloutView,
    SilenceWanted,
    SpaceView,
    TokenView,
    UserView,
    described,
)
from aggregator.reach.figures_elsewhere import RemoteFigures
from aggregator.reach.repeating import RepeatingClient
from aggregator.reach.told import check_own, check_user, device_of, event_of, group_of
from aggregator.registry import DeviceTable, DeviceView, Overview, Page, Request, as_plain, table_of
from aggregator.rollouts import Act, Plan, StageForecast
from aggregator.store import DeliveryRow, EventRow, RefusalRow
from aggregator.store.rows import AlertRow, AuditRow, RemovalRow, SilenceRow
from headway.errors import ConfigError, UnknownNameError
from headway.fields import JsonValue, canonical_json, json_line
from headway.wire import SettingValue

if TYPE_CHECKING:
    from aggregator.operations.enrolment import CertificateView
    from headway_client import models

PAGE = 1000


class RemoteFleet:
    """Implements `Fleet`. Raises ConfigError for a URL that is none or would carry the token in the clear."""

    def __init__(self, url: str, token: str, ca_file: Path | None = None) -> None:
        try:
            self._client = RepeatingClient(url, token, ca_file=ca_file)
        except ValueError as error:
            raise ConfigError(f"--server: {error}") from error
        except OSError as error:
            raise ConfigError(f"--ca-file {ca_file}: {error.strerror or error}") from error
        self.figures = RemoteFigures(self._client)

    def device_page(self, request: Request) -> Page:
        found: list[DeviceView] = []
        after, wanted = request.after, request.count_max
        while True:
            limit = PAGE if wanted is None else min(PAGE, wanted - len(found))
            page = self._client.list_devices(filter=request.filter, sort=request.sort, after=after, limit=limit)
            found += map(device_of, page["devices"])
            after = page["next"]
            if not after or (wanted is not None and len(found) >= wanted):
                return Page(found, after)

    def device_table(self, request: Request, names: Sequence[str], texts: bool) -> DeviceTable:
        return table_of(self.device_page(request), names)

    def device_json(self, request: Request) -> tuple[list[str], str]:
        page = self.device_page(request)
        return ["[", ",\n ".join(json_line(as_plain(view)) for view in page.devices), "]"], page.next

    def device(self, name: str, days_max: int) -> DeviceInFull:
        told = self._client.show_device(name, days=days_max)
        days = tuple(DayView(**day) for day in told["days"])
        return DeviceInFull(device_of(cast("models.Device", told)), tuple(told["groups"]), days)

    def refusals(self) -> list[RefusalRow]:
        return [RefusalRow(**row) for row in self._client.list_refusals()]

    def overview(self) -> Overview:
        told = self._client.show_overview()
        return Overview(
            told["devices"], told["online"], told["labels"], told["served_accuracy"], told["frozen_accuracy"],
            told["below_frozen"], told["troubled"], tuple(device_of(device).row for device in told["worst"]),
            tuple(map(event_of, told["events"])),
        )  # fmt: skip

    def events(self, device: str, name: str, count_max: int) -> list[EventRow]:
        found: list[EventRow] = []
        before = None
        while len(found) < count_max:
            limit = min(PAGE, count_max - len(found))
            page = self._client.list_events(device=device, name=name, before=before, limit=limit)
            found += map(event_of, page)
            if len(page) < limit:
                break
            before = page[-1]["number"]
        return found

    def events_after(self, number: int, count_max: int) -> list[tuple[int, EventRow]]:
        return [(told["number"], event_of(told)) for told in self._client.list_events(after=number, limit=count_max)]

    def day_page(self, after: str) -> DayPage:
        told = self._client.list_days(after=after)
        return DayPage([DeviceDay(**day) for day in told["days"]], told["next"])

    def spaces(self) -> list[SpaceView]:
        return [SpaceView(**space) for space in self._client.list_spaces()]

    def hold_head(self, space: str, version: int) -> None:
        self._client.hold_head(space, {"version": version})

    def bundle_use(self) -> list[BundleUse]:
        return [BundleUse(**use) for use in self._client.list_bundle_use()]

    def download_backup(self, to: BinaryIO) -> int:
        """Have the server back itself up, and write the backup into an open file. How many bytes."""
        return self._client.make_backup_file(to)

    def tag(self, devices: Sequence[str], wanted: str, given: Mapping[str, str], unset: Sequence[str]) -> int:
        body: models.Tagging = {"devices": [*devices], "filter": wanted, "set": {**given}, "unset": [*unset]}
        return len(self._client.tag_devices(body)["devices"])

    def note(self, name: str, text: str) -> None:
        self._client.put_note(name, {"text": text})

    def groups(self) -> list[GroupView]:
        return [GroupView(**group) for group in self._client.list_groups()]

    def save_group(self, name: str, wanted: str) -> GroupView:
        return group_of(self._client.put_group(name, {"filter": wanted}))

    def change_list(self, name: str, add: Sequence[str], remove: Sequence[str]) -> GroupView:
        return group_of(self._client.change_group(name, {"add": [*add], "remove": [*remove]}))

    def forget_group(self, name: str) -> None:
        self._client.delete_group(name)

    def quarantine(self, name: str, reason: str) -> None:
        self._client.quarantine_device(name, {"reason": reason})

    def readmit(self, name: str) -> None:
        self._client.readmit_device(name)

    def remove(self, name: str) -> None:
        self._client.remove_device(name)

    def is_removed(self, name: str) -> bool:
        try:
            self._client.show_device(name, days=0)
        except UnknownNameError:
            return True
        return False

    def forget(self, name: str, since_s: float) -> None:
        self._client.forget_device(name, {"since_s": since_s})

    def is_forgotten(self, name: str) -> bool:
        return not self._client.show_forgetting(name)["waits"]

    def removals(self) -> list[RemovalRow]:
        return [RemovalRow(row["number"], row["record"], row["signature"]) for row in self._client.list_removals()]

    def keep_bundle(self, bundle: Path, public_key: Path | None) -> DeliveryRow:
        row = described(bundle, public_key, 0.0)  # refused here, before it travels
        self._client.upload_bundle(bundle.read_bytes())
        return row

    def order(self, row: DeliveryRow, devices: Sequence[str], everybody: bool) -> int:
        body: models.Order = {"bundle": row.sha256 or None, "devices": [*devices], "everybody": everybody}
        return self._client.order_bundle(body)["devices"]

    def deliveries(self) -> list[DeliveryView]:
        return [DeliveryView(**row) for row in self._client.list_deliveries()]

    def begin_rollout(self, name: str, plan: Plan, row: DeliveryRow) -> None:
        self._client.begin_rollout({"name": name, "bundle": row.sha256, "plan": plan.plain()})

    def forecast(self, name: str, plan: Plan, release: int) -> list[StageForecast]:
        stages = self._client.forecast_rollout({"name": name, "plan": plan.plain(), "release": release})
        return [replace(StageForecast(**cast("Any", stage)), devices=tuple(stage["devices"])) for stage in stages]

    def rollouts(self) -> list[RolloutView]:
        return [RolloutView(**rollout) for rollout in self._client.list_rollouts()]

    def rollout(self, name: str) -> tuple[RolloutView, list[RolloutDeviceView]]:
        devices = [RolloutDeviceView(**device) for device in self._client.list_rollout_devices(name)]
        return RolloutView(**self._client.show_rollout(name)), devices

    def act_on_rollout(self, name: str, act: Act, remark: str) -> None:
        self._client.act_on_rollout(name, cast("models.Steering", {"act": str(act), "remark": remark}))

    def new_code(self, device: str, groups: Sequence[str], reusable: bool, count_max: int, expires: str) -> str:
        body: models.CodeWanted = {
            "device": device or None, "groups": [*groups], "reusable": reusable, "count_max": count_max,
            "expires": expires,
        }  # fmt: skip
        return self._client.create_join_code(body)["code"]

    def revoke(self, device: str) -> int:
        return self._client.revoke_device(device)["certificates"]

    def certificates(self) -> list[CertificateView]:
        from aggregator.operations.enrolment import CertificateView

        return [CertificateView(**row) for row in self._client.list_certificates()]

    def audit(self) -> list[AuditRow]:
        rows: list[AuditRow] = []
        while page := self.audit_page(rows[-1].number if rows else 0, PAGE):
            rows += page
        return rows

    def audit_page(self, after: int, count_max: int) -> list[AuditRow]:
        told = self._client.list_audit(after=after, limit=count_max)
        return [
            replace(AuditRow(**cast("Any", entry)), detail=canonical_json(entry["detail"]).decode())
            for entry in told["entries"]
        ]

    def audit_problems(self) -> list[str]:
        return self._client.check_audit()["problems"]

    def command(self, device: str, name: str, arguments: Mapping[str, JsonValue], expires: str) -> models.DeviceCommand:
        body = {"name": name, "arguments": {**arguments}, "expires": expires}
        return self._client.command_device(device, cast("models.CommandWanted", body))

    def command_many(
        self, wanted: str, group: str, name: str, arguments: Mapping[str, JsonValue], expires: str
    ) -> Commanded:
        body = {"filter": wanted, "group": group, "name": name, "arguments": {**arguments}, "expires": expires}
        told = self._client.command_devices(cast("models.CommandsWanted", body))
        problems = [NotAsked(**each) for each in told["problems"]]
        return Commanded(told["number"], told["devices"], told["refused"], problems)

    def command_summary(self, number: int) -> CommandSummary:
        told = self._client.show_command(str(number))
        problems = [NotAsked(**each) for each in told["problems"]]
        return CommandSummary(**cast("Any", {**told, "problems": problems}))

    def commands_with(self, number: int) -> list[models.DeviceCommand]:
        found: list[models.DeviceCommand] = []
        after = ""
        while True:
            page = self._client.list_command_devices(str(number), after=after, limit=PAGE)
            found += page["commands"]
            after = page["next"]
            if not after:
                return found

    def commands(self, device: str) -> list[models.DeviceCommand]:
        return self._client.list_commands(device)

    def inbox(self, kind: str, after: str, count_max: int) -> InboxPage:
        page = self._client.show_inbox(kind=kind, after=after, limit=count_max)
        items = [InboxItem(**cast("Any", item)) for item in page["items"]]
        return InboxPage(items, page["counts"], page["windows"], page["next"])

    def labels_wanted(self, device: str) -> models.WantedLabels:
        return self._client.list_labels_wanted(device)

    def label(self, device: str, window: str, act: LabelAct, class_name: str) -> models.GivenAct:
        body = {"window": window, "act": str(act), "class_name": class_name}
        return self._client.label_window(device, cast("models.LabelWanted", body))

    def label_many(self, device: str, labels: Sequence[tuple[str, str]]) -> list[models.GivenAct]:
        body = {"labels": [{"window": window, "class_name": name} for window, name in labels]}
        return self._client.label_windows(device, cast("models.LabelsGiven", body))

    def configure(
        self, scope: str, name: str, values: Mapping[str, SettingValue], unset: Sequence[str], priority: int | None
    ) -> Mapping[str, SettingValue]:
        body = {"scope": scope, "name": name, "set": {**values}, "unset": [*unset], "priority": priority}
        return self._client.change_settings(cast("models.SettingsChange", body))

    def wanted_settings(self) -> list[models.WantedSettings]:
        return self._client.list_settings()

    def device_settings(self, name: str) -> models.DeviceSettings:
        return self._client.show_settings(name)

    def alerts(self, closed_too: bool) -> list[tuple[AlertRow, bool]]:
        found = []
        for told in self._client.list_alerts(closed=closed_too):
            given = {name: value for name, value in told.items() if name != "silenced"}
            found.append((AlertRow(**cast("Any", given), absent_s=0.0), told["silenced"]))
        return found

    def channel_problems(self) -> list[str]:
        return self._client.list_alert_problems()

    def acknowledge(self, number: int, remark: str) -> str:
        return self._client.acknowledge_alert(str(number), {"remark": remark})["subject"]

    def alert_rules(self) -> list[models.Rule]:
        return self._client.list_alert_rules()

    def set_alert_rule(
        self, name: str, looks_at: Mapping[str, str], severity: str | None, for_s: float | None, enabled: bool | None
    ) -> bool:
        if len(looks_at) > 1:
            raise ConfigError("a rule looks at one thing; give one of --devices, --certificates-within and --rollouts")
        body: dict[str, Any] = {"severity": severity, "for_s": for_s, "enabled": enabled}
        for watches, condition in looks_at.items():
            body |= {"watches": watches, "condition": condition}
        return self._client.change_alert_rule(name, cast("models.RuleWanted", body))["enabled"]

    def forget_alert_rule(self, name: str) -> bool:
        self._client.delete_alert_rule(name)
        return any(rule["name"] == name for rule in self.alert_rules())

    def silence(self, wanted: SilenceWanted) -> SilenceRow:
        return SilenceRow(**self._client.silence_alerts(cast("models.Quiet", asdict(wanted))))

    def end_silence(self, number: int) -> None:
        self._client.end_silence(str(number))

    def silences(self) -> list[SilenceRow]:
        return [SilenceRow(**row) for row in self._client.list_silences()]

    def users(self) -> list[UserView]:
        return [UserView(**user) for user in self._client.list_users()]

    def put_user(self, name: str, role: Role | None, password: str | None, new: bool) -> UserView:
        known = {view.user: view for view in self.users()}
        check_user(name, name in known, new)
        wanted = role or (Role.VIEWER if new else Role(known[name].role))
        body = cast("models.UserWanted", {"role": str(wanted), "password": password})
        return UserView(**self._client.put_user(name, body))

    def remove_user(self, name: str) -> None:
        self._client.delete_user(name)

    def tokens(self) -> list[TokenView]:
        return [TokenView(**token) for token in self._client.list_tokens()]

    def new_token(self, user: str, label: str, role: Role | None, expires: str) -> str:
        check_own(self._client.show_me()["user"], user)
        wanted = {"label": label, "role": None if role is None else str(role), "expires": expires}
        return self._client.create_token(cast("models.TokenWanted", wanted))["token"]

    def revoke_token(self, id: str) -> None:
        self._client.revoke_token(id)
