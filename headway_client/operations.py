"""A method for each operation of the API. Written by python -m scripts.api; do not edit."""

from __future__ import annotations

from typing import BinaryIO, cast

import headway_client.models as models
from headway_client.connection import Connection, segment


class Client(Connection):
    """Everything that can be asked of a fleet; every method raises ApiError and ApiUnreachable.

    key: of an act that must be done once, however often it is sent: any text of up to 255 characters.
    """

    def check_health(self) -> models.Health:
        """Whether the API and its database answer; for everybody."""
        return cast("models.Health", self.ask(method="GET", path="/v1/health"))

    def show_me(self) -> models.Me:
        """Who asks, and with which role."""
        return cast("models.Me", self.ask(method="GET", path="/v1/me"))

    def list_users(self) -> list[models.UserView]:
        """All users."""
        return cast("list[models.UserView]", self.ask(method="GET", path="/v1/users"))

    def put_user(self, name: str, body: models.UserWanted, *, key: str = "") -> models.UserView:
        """Add a user, or change role or password of one."""
        return cast(
            "models.UserView",
            self.ask(
                method="PUT",
                path=f"/v1/users/{segment(name)}",
                body=body,
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def delete_user(self, name: str, *, key: str = "") -> None:
        """Remove a user and every token of theirs."""
        self.ask(method="DELETE", path=f"/v1/users/{segment(name)}", headers={"Idempotency-Key": key} if key else None)

    def list_tokens(self) -> list[models.TokenView]:
        """The caller's tokens; an administrator sees everybody's."""
        return cast("list[models.TokenView]", self.ask(method="GET", path="/v1/tokens"))

    def create_token(self, body: models.TokenWanted, *, key: str = "") -> models.NewToken:
        """A token of the caller with no more than the caller's role; with the role share, for a link that looks."""
        return cast(
            "models.NewToken",
            self.ask(method="POST", path="/v1/tokens", body=body, headers={"Idempotency-Key": key} if key else None),
        )

    def revoke_token(self, id: str, *, key: str = "") -> None:
        """Revoke a token of the caller; an administrator revokes anybody's."""
        self.ask(method="DELETE", path=f"/v1/tokens/{segment(id)}", headers={"Idempotency-Key": key} if key else None)

    def list_devices(
        self, *, filter: str | None = None, sort: str | None = None, after: str | None = None, limit: int | None = None
    ) -> models.DevicePage:
        """Devices that meet a filter, in pages."""
        return cast(
            "models.DevicePage",
            self.ask(
                method="GET", path="/v1/devices", query={"filter": filter, "sort": sort, "after": after, "limit": limit}
            ),
        )

    def show_device(self, device: str, *, days: int | None = None) -> models.DeviceInFull:
        """Everything about one device."""
        return cast(
            "models.DeviceInFull", self.ask(method="GET", path=f"/v1/devices/{segment(device)}", query={"days": days})
        )

    def remove_device(self, device: str, *, key: str = "") -> models.Asked:
        """Subtract what a device contributed and forget the device."""
        return cast(
            "models.Asked",
            self.ask(
                method="DELETE",
                path=f"/v1/devices/{segment(device)}",
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def show_confusion(self, device: str) -> models.ConfusionView:
        """What a device takes for what: counts of the served and of the frozen head on the same labels."""
        return cast("models.ConfusionView", self.ask(method="GET", path=f"/v1/devices/{segment(device)}/confusion"))

    def list_heads_of_device(self, device: str) -> list[models.HeadSpanView]:
        """Each time that another head began to serve on a device, and how often it was right, the oldest first."""
        return cast("list[models.HeadSpanView]", self.ask(method="GET", path=f"/v1/devices/{segment(device)}/heads"))

    def quarantine_device(self, device: str, body: models.Quarantine, *, key: str = "") -> models.Asked:
        """Count nothing that a device reported or will report, until it is readmitted."""
        return cast(
            "models.Asked",
            self.ask(
                method="POST",
                path=f"/v1/devices/{segment(device)}/quarantine",
                body=body,
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def readmit_device(self, device: str, *, key: str = "") -> models.Asked:
        """Count again what was set aside of a device."""
        return cast(
            "models.Asked",
            self.ask(
                method="POST",
                path=f"/v1/devices/{segment(device)}/readmit",
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def show_note(self, device: str) -> models.Note:
        """The note on a device."""
        return cast("models.Note", self.ask(method="GET", path=f"/v1/devices/{segment(device)}/note"))

    def put_note(self, device: str, body: models.Note, *, key: str = "") -> models.Note:
        """Put a note on a device in place of the one before."""
        return cast(
            "models.Note",
            self.ask(
                method="PUT",
                path=f"/v1/devices/{segment(device)}/note",
                body=body,
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def tag_devices(self, body: models.Tagging, *, key: str = "") -> models.Tagged:
        """Set tags of devices, or take tags away."""
        return cast(
            "models.Tagged",
            self.ask(method="POST", path="/v1/tags", body=body, headers={"Idempotency-Key": key} if key else None),
        )

    def list_groups(self) -> list[models.GroupView]:
        """Every group."""
        return cast("list[models.GroupView]", self.ask(method="GET", path="/v1/groups"))

    def show_group(self, group: str) -> models.Group:
        """One group, and who is on its list."""
        return cast("models.Group", self.ask(method="GET", path=f"/v1/groups/{segment(group)}"))

    def put_group(self, group: str, body: models.FilterGroup, *, key: str = "") -> models.Group:
        """Save a filter under a name: a device belongs to the group while it is like that."""
        return cast(
            "models.Group",
            self.ask(
                method="PUT",
                path=f"/v1/groups/{segment(group)}",
                body=body,
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def change_group(self, group: str, body: models.ListChange, *, key: str = "") -> models.Group:
        """Make a group that is a list of devices, or change one."""
        return cast(
            "models.Group",
            self.ask(
                method="PATCH",
                path=f"/v1/groups/{segment(group)}",
                body=body,
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def delete_group(self, group: str, *, key: str = "") -> None:
        """Forget a group; its devices stay."""
        self.ask(
            method="DELETE", path=f"/v1/groups/{segment(group)}", headers={"Idempotency-Key": key} if key else None
        )

    def forget_device(self, device: str, body: models.Forget, *, key: str = "") -> models.Asked:
        """Subtract what a device reported since its newest mark before a moment; it stays in the fleet."""
        return cast(
            "models.Asked",
            self.ask(
                method="POST",
                path=f"/v1/devices/{segment(device)}/forget",
                body=body,
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def show_forgetting(self, device: str) -> models.Forgetting:
        """Whether something is still to be forgotten of a device."""
        return cast("models.Forgetting", self.ask(method="GET", path=f"/v1/devices/{segment(device)}/forget"))

    def list_removals(self) -> list[models.Removal]:
        """The signed records of what was taken out of the fleet, the oldest first."""
        return cast("list[models.Removal]", self.ask(method="GET", path="/v1/removals"))

    def list_bundles(self) -> list[models.Bundle]:
        """The bundles that are kept to be handed out."""
        return cast("list[models.Bundle]", self.ask(method="GET", path="/v1/bundles"))

    def upload_bundle(self, body: bytes, *, key: str = "") -> models.Bundle:
        """Keep a bundle (.hwb), to be ordered or rolled out; the same bytes are kept once."""
        return cast(
            "models.Bundle",
            self.ask(method="POST", path="/v1/bundles", body=body, headers={"Idempotency-Key": key} if key else None),
        )

    def list_bundle_use(self) -> list[models.BundleUse]:
        """Every bundle that is known: whether it is handed out, and how many devices are to run it and do."""
        return cast("list[models.BundleUse]", self.ask(method="GET", path="/v1/bundles/use"))

    def delete_bundle(self, sha256: str, *, key: str = "") -> None:
        """Delete a bundle that nobody is to run."""
        self.ask(
            method="DELETE", path=f"/v1/bundles/{segment(sha256)}", headers={"Idempotency-Key": key} if key else None
        )

    def list_deliveries(self) -> list[models.DeliveryView]:
        """What is ordered and how far it is."""
        return cast("list[models.DeliveryView]", self.ask(method="GET", path="/v1/deliveries"))

    def order_bundle(self, body: models.Order, *, key: str = "") -> models.Ordered:
        """Order a bundle for devices, or withdraw the order."""
        return cast(
            "models.Ordered",
            self.ask(
                method="POST", path="/v1/deliveries", body=body, headers={"Idempotency-Key": key} if key else None
            ),
        )

    def list_rollouts(self) -> list[models.RolloutView]:
        """All rollouts, the newest first."""
        return cast("list[models.RolloutView]", self.ask(method="GET", path="/v1/rollouts"))

    def begin_rollout(self, body: models.Beginning, *, key: str = "") -> models.RolloutView:
        """Begin a rollout, which the running service takes up."""
        return cast(
            "models.RolloutView",
            self.ask(method="POST", path="/v1/rollouts", body=body, headers={"Idempotency-Key": key} if key else None),
        )

    def forecast_rollout(self, body: models.Forecasting, *, key: str = "") -> list[models.StageForecast]:
        """Who would be in each stage of a rollout, and how long labels would take."""
        return cast(
            "list[models.StageForecast]",
            self.ask(
                method="POST",
                path="/v1/rollouts/forecast",
                body=body,
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def show_rollout(self, name: str) -> models.RolloutView:
        """One rollout."""
        return cast("models.RolloutView", self.ask(method="GET", path=f"/v1/rollouts/{segment(name)}"))

    def list_rollout_devices(self, name: str) -> list[models.RolloutDeviceView]:
        """The devices of a rollout, and what each confirmed last."""
        return cast(
            "list[models.RolloutDeviceView]", self.ask(method="GET", path=f"/v1/rollouts/{segment(name)}/devices")
        )

    def list_rollout_stages(self, name: str) -> list[models.StageView]:
        """What each stage of a rollout shows so far, by which the service decides."""
        return cast("list[models.StageView]", self.ask(method="GET", path=f"/v1/rollouts/{segment(name)}/stages"))

    def act_on_rollout(self, name: str, body: models.Steering, *, key: str = "") -> models.Asked:
        """Pause, resume, approve, halt or roll back; the running service does so within its housekeeping interval."""
        return cast(
            "models.Asked",
            self.ask(
                method="POST",
                path=f"/v1/rollouts/{segment(name)}/acts",
                body=body,
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def list_certificates(self) -> list[models.CertificateView]:
        """Which devices have joined, and until when their certificates are good."""
        return cast("list[models.CertificateView]", self.ask(method="GET", path="/v1/certificates"))

    def create_join_code(self, body: models.CodeWanted, *, key: str = "") -> models.NewCode:
        """A code with which a device joins."""
        return cast(
            "models.NewCode",
            self.ask(
                method="POST", path="/v1/join-codes", body=body, headers={"Idempotency-Key": key} if key else None
            ),
        )

    def revoke_device(self, device: str, *, key: str = "") -> models.Revoked:
        """Shut a lost device out, now and for good; repeated, it finishes what was interrupted."""
        return cast(
            "models.Revoked",
            self.ask(
                method="POST",
                path=f"/v1/devices/{segment(device)}/revoke",
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def list_settings(self) -> list[models.WantedSettings]:
        """What is wanted of the fleet, of groups and of devices."""
        return cast("list[models.WantedSettings]", self.ask(method="GET", path="/v1/settings"))

    def change_settings(self, body: models.SettingsChange, *, key: str = "") -> dict[str, bool | int | float | str]:
        """Change settings from afar; what is wanted there from now on. A device that cannot take one says why."""
        return cast(
            "dict[str, bool | int | float | str]",
            self.ask(method="POST", path="/v1/settings", body=body, headers={"Idempotency-Key": key} if key else None),
        )

    def show_settings(self, device: str) -> models.DeviceSettings:
        """What is wanted of a device, what holds there, and why the rest does not."""
        return cast("models.DeviceSettings", self.ask(method="GET", path=f"/v1/devices/{segment(device)}/settings"))

    def command_devices(self, body: models.CommandsWanted, *, key: str = "") -> models.Commanded:
        """Tell every device that meets a filter, or belongs to a group, to do something, once."""
        return cast(
            "models.Commanded",
            self.ask(method="POST", path="/v1/commands", body=body, headers={"Idempotency-Key": key} if key else None),
        )

    def show_command(self, number: str) -> models.CommandSummary:
        """What became of the commands that were asked for together with this one."""
        return cast("models.CommandSummary", self.ask(method="GET", path=f"/v1/commands/{segment(number)}"))

    def list_command_devices(
        self, number: str, *, after: str | None = None, limit: int | None = None
    ) -> models.CommandPage:
        """The same commands, by device, in pages."""
        return cast(
            "models.CommandPage",
            self.ask(
                method="GET", path=f"/v1/commands/{segment(number)}/devices", query={"after": after, "limit": limit}
            ),
        )

    def list_commands(self, device: str) -> list[models.DeviceCommand]:
        """What was asked of a device, the oldest first, and what came of it."""
        return cast(
            "list[models.DeviceCommand]", self.ask(method="GET", path=f"/v1/devices/{segment(device)}/commands")
        )

    def command_device(self, device: str, body: models.CommandWanted, *, key: str = "") -> models.DeviceCommand:
        """Tell a device to do something, once, or after its deadline not at all."""
        return cast(
            "models.DeviceCommand",
            self.ask(
                method="POST",
                path=f"/v1/devices/{segment(device)}/commands",
                body=body,
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def show_overview(self) -> models.FleetOverview:
        """The fleet at a glance: counts, the devices that need somebody most, and what was heard last."""
        return cast("models.FleetOverview", self.ask(method="GET", path="/v1/overview"))

    def list_spaces(self) -> list[models.SpaceView]:
        """The feature spaces that are served side by side, and the newest head of each."""
        return cast("list[models.SpaceView]", self.ask(method="GET", path="/v1/spaces"))

    def hold_head(self, space: str, body: models.HeadWanted, *, key: str = "") -> models.Asked:
        """Go back to an earlier head: the running service publishes it again, and no newer one until it is let go."""
        return cast(
            "models.Asked",
            self.ask(
                method="POST",
                path=f"/v1/spaces/{segment(space)}/held-head",
                body=body,
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def list_heads(self) -> list[models.HeadView]:
        """The head that the fleet was told last; none before the first."""
        return cast("list[models.HeadView]", self.ask(method="GET", path="/v1/heads"))

    def show_influence(self) -> models.InfluenceView:
        """What the fleet's head loses or gains without each device, the worst first, on the bundle's own sample."""
        return cast("models.InfluenceView", self.ask(method="GET", path="/v1/influence"))

    def list_privacy(self) -> list[models.PrivacyView]:
        """What heads wait for, and what is spent of the privacy budget, of each feature space."""
        return cast("list[models.PrivacyView]", self.ask(method="GET", path="/v1/privacy"))

    def list_fields(self) -> list[models.FieldView]:
        """How often devices are right with what they serve, and with their frozen heads, of each feature space."""
        return cast("list[models.FieldView]", self.ask(method="GET", path="/v1/heads/field"))

    def list_head_versions(self, space: str) -> list[models.HeadVersion]:
        """Every head of a feature space that is kept, the newest first: what it learned, and what it is worth."""
        return cast("list[models.HeadVersion]", self.ask(method="GET", path=f"/v1/spaces/{segment(space)}/heads"))

    def compare_heads(self, space: str, *, first: int | None = None, second: int | None = None) -> models.ComparedHeads:
        """Two heads of a feature space beside each other, on the bundle's own sample and in the field."""
        return cast(
            "models.ComparedHeads",
            self.ask(
                method="GET",
                path=f"/v1/spaces/{segment(space)}/heads/compared",
                query={"first": first, "second": second},
            ),
        )

    def list_refusals(self) -> list[models.RefusalRow]:
        """How often messages of each device were refused, and why; device '' are senders that are not in the fleet."""
        return cast("list[models.RefusalRow]", self.ask(method="GET", path="/v1/refusals"))

    def list_events(
        self,
        *,
        device: str | None = None,
        name: str | None = None,
        before: int | None | None = None,
        after: int | None | None = None,
        limit: int | None = None,
    ) -> list[models.NumberedEvent]:
        """Events of devices, and of the service about them: the newest first, or with `after` the oldest first."""
        return cast(
            "list[models.NumberedEvent]",
            self.ask(
                method="GET",
                path="/v1/events",
                query={"device": device, "name": name, "before": before, "after": after, "limit": limit},
            ),
        )

    def list_days(self, *, after: str | None = None, limit: int | None = None) -> models.DayPage:
        """What devices did on each day, in pages of so many devices."""
        return cast("models.DayPage", self.ask(method="GET", path="/v1/days", query={"after": after, "limit": limit}))

    def list_audit(self, *, after: int | None = None, limit: int | None = None) -> models.AuditPage:
        """Who did what to the fleet, the oldest first."""
        return cast(
            "models.AuditPage", self.ask(method="GET", path="/v1/audit", query={"after": after, "limit": limit})
        )

    def check_audit(self) -> models.AuditCheck:
        """Whether no entry was changed, added or taken away."""
        return cast("models.AuditCheck", self.ask(method="GET", path="/v1/audit/check"))

    def list_alerts(self, *, closed: bool | None = None) -> list[models.Alert]:
        """Open alerts, or all that are kept, the newest first."""
        return cast("list[models.Alert]", self.ask(method="GET", path="/v1/alerts", query={"closed": closed}))

    def acknowledge_alert(self, number: str, body: models.Acknowledgement, *, key: str = "") -> models.Asked:
        """Say that somebody looks after an alert; the running service notes it within its interval."""
        return cast(
            "models.Asked",
            self.ask(
                method="POST",
                path=f"/v1/alerts/{segment(number)}/acknowledge",
                body=body,
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def list_alert_rules(self) -> list[models.Rule]:
        """What makes an alert."""
        return cast("list[models.Rule]", self.ask(method="GET", path="/v1/alert-rules"))

    def change_alert_rule(self, name: str, body: models.RuleWanted, *, key: str = "") -> models.Rule:
        """Make a rule, or change what is given."""
        return cast(
            "models.Rule",
            self.ask(
                method="PATCH",
                path=f"/v1/alert-rules/{segment(name)}",
                body=body,
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def delete_alert_rule(self, name: str, *, key: str = "") -> None:
        """Forget a rule; of one that is built in, the changes."""
        self.ask(
            method="DELETE", path=f"/v1/alert-rules/{segment(name)}", headers={"Idempotency-Key": key} if key else None
        )

    def list_alert_problems(self) -> list[str]:
        """A line for each channel that cannot be told of alerts."""
        return cast("list[str]", self.ask(method="GET", path="/v1/alert-channels"))

    def list_silences(self) -> list[models.SilenceRow]:
        """Silences that hold now."""
        return cast("list[models.SilenceRow]", self.ask(method="GET", path="/v1/silences"))

    def silence_alerts(self, body: models.Quiet, *, key: str = "") -> models.SilenceRow:
        """Alerts that are not told for a time."""
        return cast(
            "models.SilenceRow",
            self.ask(method="POST", path="/v1/silences", body=body, headers={"Idempotency-Key": key} if key else None),
        )

    def end_silence(self, number: str, *, key: str = "") -> None:
        """End a silence before its time."""
        self.ask(
            method="DELETE", path=f"/v1/silences/{segment(number)}", headers={"Idempotency-Key": key} if key else None
        )

    def make_backup_file(self, to: BinaryIO) -> int:
        """A backup of the server as a file, without keys. Returns how many bytes were written."""
        return self.download("POST", "/v1/backups", to)

    def show_inbox(
        self, *, kind: str | None = None, after: str | None = None, limit: int | None = None
    ) -> models.InboxPage:
        """What waits for a person, the most urgent first, and how much there is of each kind."""
        return cast(
            "models.InboxPage",
            self.ask(method="GET", path="/v1/inbox", query={"kind": kind, "after": after, "limit": limit}),
        )

    def list_labels_wanted(self, device: str) -> models.WantedLabels:
        """Windows whose class a device wants to know, the least certain first, and what was said of others."""
        return cast("models.WantedLabels", self.ask(method="GET", path=f"/v1/devices/{segment(device)}/labels-wanted"))

    def label_window(self, device: str, body: models.LabelWanted, *, key: str = "") -> models.GivenAct:
        """Say what a window was, that it was none of the classes, that nobody wants to say, or take that back.

        A label reaches the device whenever it is there, within seven days, and counts once."""
        return cast(
            "models.GivenAct",
            self.ask(
                method="POST",
                path=f"/v1/devices/{segment(device)}/labels",
                body=body,
                headers={"Idempotency-Key": key} if key else None,
            ),
        )

    def label_windows(self, device: str, body: models.LabelsGiven, *, key: str = "") -> list[models.GivenAct]:
        """Say what several windows were, all or none of them; each counts once."""
        return cast(
            "list[models.GivenAct]",
            self.ask(
                method="POST",
                path=f"/v1/devices/{segment(device)}/labels-given",
                body=body,
                headers={"Idempotency-Key": key} if key else None,
            ),
        )
