"""What the API is sent and answers. Written by python -m scripts.api; do not edit."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Acknowledgement(TypedDict):
    """What somebody says who looks after an alert."""

    remark: NotRequired[str]


Act = Literal["pause", "resume", "approve", "halt", "roll-back"]


class Alert(TypedDict):
    """An alert; moments are wall clock, 0: not yet."""

    number: int
    rule: str
    subject: str
    severity: str
    state: str
    summary: str
    since_s: float
    opened_s: float
    closed_s: float
    told: bool
    acknowledged_by: str
    remark: str
    acknowledged_s: float
    silenced: bool


class Asked(TypedDict):
    """An act that the running service carries out within its housekeeping interval."""

    asked: str
    subject: str


class AuditCheck(TypedDict):
    """What is wrong with the chain of the audit log; nothing when it holds."""

    problems: list[str]
    entries: int
    sha256: str


class AuditEntry(TypedDict):
    """An entry of the audit log."""

    number: int
    who: str
    act: str
    subject: str
    detail: dict[str, Any]
    at_s: float
    sha256: str


class AuditPage(TypedDict):
    """Entries, the oldest first. next: for `after`, 0 behind the last."""

    entries: list[AuditEntry]
    next: int


class Beginning(TypedDict):
    """A rollout. plan: the tables of a plan (docs/howto/roll-out.md) as JSON; none for 5 %, 25 %, all."""

    name: str
    bundle: str
    plan: NotRequired[dict[str, Any] | None]


class Bundle(TypedDict):
    """A bundle that is kept to be handed out."""

    sha256: str
    size: int
    name: str
    version: str
    release: int
    space: str


class BundleUse(TypedDict):
    """One bundle, and who is to run it and does."""

    bundle: str
    version: str
    release: int
    sha256: str | None
    ordered: int
    running: int
    rollout: str | None
    problem: str | None


class CertificateView(TypedDict):
    """A certificate of a device, as in `CertificateRow`; state: ``good``, ``over`` or ``revoked``."""

    serial: str
    device: str
    groups: str
    code_sha256: str
    key_sha256: str
    certificate: str
    issued_s: float
    expires_s: float
    revoked_s: float
    state: str


class ClassCompared(TypedDict):
    """One class in two heads."""

    name: str
    rows: int
    first: float | None
    second: float | None
    moved: float | None


class CodeWanted(TypedDict):
    """A code for one device, or a reusable one. expires: 30m, 24h or 7d from now."""

    device: NotRequired[str | None]
    groups: NotRequired[list[str]]
    reusable: NotRequired[bool]
    count_max: NotRequired[int]
    expires: NotRequired[str]


class CommandPage(TypedDict):
    """Commands by device. next: for `after`, empty behind the last."""

    commands: list[DeviceCommand]
    next: str


class CommandSummary(TypedDict):
    """What became of commands that were asked for together: how many devices are in each state."""

    number: int
    name: str
    arguments: dict[str, int | str]
    who: str
    created_s: float
    deadline_s: float
    devices: int
    states: dict[str, int]
    problems: list[NotAsked]


class CommandWanted(TypedDict):
    """A command to one device. expires: 30m, 24h or 7d from now; after that it is not begun any more."""

    name: str
    arguments: NotRequired[dict[str, int | str]]
    expires: NotRequired[str]


class Commanded(TypedDict):
    """What became of asking many: the number of the first command, 0 without any, and how many devices were asked."""

    number: int
    devices: int
    refused: int
    problems: list[NotAsked]


class CommandsWanted(TypedDict):
    """A command to every device that meets a filter now, or belongs to a group."""

    name: str
    arguments: NotRequired[dict[str, int | str]]
    expires: NotRequired[str]
    filter: NotRequired[str]
    group: NotRequired[str]


class Compared(TypedDict):
    """Two heads on one sample."""

    rows: int
    first: float | None
    second: float | None
    only_first: int
    only_second: int
    gain: float | None
    error: float | None
    classes: list[ClassCompared]


class ComparedHeads(TypedDict):
    """Two heads of a feature space beside each other."""

    space: str
    bundle: str
    versions: list[int]
    first: HeadVersion
    second: HeadVersion
    result: Compared


class ConfusionView(TypedDict):
    """What a device takes for what."""

    device: str
    labels: int
    classes: list[str]
    served: list[list[int]]
    frozen: list[list[int]]
    figures: list[FigureView]


class DayPage(TypedDict):
    """All days of some devices, of each the oldest first. next: for `after`, empty behind the last."""

    days: list[DeviceDay]
    next: str


class DayView(TypedDict):
    """What a device did on a day (UTC, year-month-day). Accuracies are of that day's labels, None without any."""

    day: str
    labels: int
    served_accuracy: float | None
    frozen_accuracy: float | None
    bytes: int


class DeliveryView(TypedDict):
    """A device's order. ordered: the release, or ``none``; runs: likewise, ``-`` for not known; state: in words."""

    device: str
    ordered: str
    runs: str
    state: str


class Device(TypedDict):
    """A device, see docs/howto/find-devices.md."""

    device: str
    first_seen_s: float
    last_seen_s: float
    link: str
    link_since_s: float | None
    health: str
    health_since_s: float | None
    learning: str
    learning_since_s: float | None
    problem: str
    bundle: str
    bundle_version: str
    release: int
    space: str
    head: str
    learner: str
    runtime: str
    agent_version: str
    machine: str
    delivery: str
    epoch: int
    counter: int
    labels: int
    scored: int
    served_accuracy: float | None
    frozen_accuracy: float | None
    accuracy_gain: float | None
    served_r2: float | None
    frozen_r2: float | None
    recent_served_accuracy: float | None
    recent_frozen_accuracy: float | None
    recent_accuracy_gain: float | None
    drift_alarms: int
    drift_s: float | None
    refused: int
    refused_reason: str
    refused_problem: str
    refused_s: float | None
    disk_free_bytes: int | None
    memory_free_bytes: int | None
    temperature_c: float | None
    bytes_per_day: float | None
    online: bool
    source: str
    quarantined: str
    note: str
    tags: dict[str, str]
    attributes: dict[str, str]


class DeviceCommand(TypedDict):
    """What a device was asked, and what came of it. state: asked, sent, done, failed or expired; times: Unix time."""

    number: int
    id: str
    device: str
    name: str
    arguments: dict[str, int | str]
    who: str
    created_s: float
    deadline_s: float
    state: str
    state_since_s: float
    result: dict[str, Any]
    takes_commands: bool


class DeviceDay(TypedDict):
    """The same with the device."""

    device: str
    day: str
    labels: int
    served_accuracy: float | None
    frozen_accuracy: float | None
    bytes: int


class DeviceInFull(TypedDict):
    """A device, its groups and its last days."""

    device: str
    first_seen_s: float
    last_seen_s: float
    link: str
    link_since_s: float | None
    health: str
    health_since_s: float | None
    learning: str
    learning_since_s: float | None
    problem: str
    bundle: str
    bundle_version: str
    release: int
    space: str
    head: str
    learner: str
    runtime: str
    agent_version: str
    machine: str
    delivery: str
    epoch: int
    counter: int
    labels: int
    scored: int
    served_accuracy: float | None
    frozen_accuracy: float | None
    accuracy_gain: float | None
    served_r2: float | None
    frozen_r2: float | None
    recent_served_accuracy: float | None
    recent_frozen_accuracy: float | None
    recent_accuracy_gain: float | None
    drift_alarms: int
    drift_s: float | None
    refused: int
    refused_reason: str
    refused_problem: str
    refused_s: float | None
    disk_free_bytes: int | None
    memory_free_bytes: int | None
    temperature_c: float | None
    bytes_per_day: float | None
    online: bool
    source: str
    quarantined: str
    note: str
    tags: dict[str, str]
    attributes: dict[str, str]
    groups: list[str]
    days: list[DayView]


class DeviceInfluence(TypedDict):
    """What the head gains by a device; below zero it harms."""

    device: str
    labels: int
    weight: float
    accuracy_gain: float
    loss_gain: float


class DevicePage(TypedDict):
    """Devices in order. next: for `after`, empty behind the last."""

    devices: list[Device]
    next: str


class DeviceSettings(TypedDict):
    """Settings of a device: wanted, as it reports them, and what differs."""

    device: str
    state: str
    version: int
    wanted: dict[str, WantedSetting]
    reported: dict[str, bool | int | float | str] | None
    reported_version: int | None
    from_afar: list[str]
    refused: dict[str, str]
    problem: str
    differences: list[SettingDifference]


class Event(TypedDict):
    """An event of a device, or of the service about it."""

    device: str
    name: str
    detail: Any
    received_s: float


class FieldView(TypedDict):
    """What the devices of a feature space do now."""

    space: str
    devices: NotRequired[int]
    labels: NotRequired[int]
    scored: NotRequired[int]
    served: NotRequired[float | None]
    frozen: NotRequired[float | None]
    heads: NotRequired[dict[str, int]]


class FigureView(TypedDict):
    """A figure of another task than classification, of both heads; None where it is not known."""

    name: str
    served: float | None
    frozen: float | None


class FilterGroup(TypedDict):
    """A group that is a filter."""

    filter: str


class FleetOverview(TypedDict):
    """A fleet at a glance."""

    devices: int
    online: int
    labels: int
    served_accuracy: float | None
    frozen_accuracy: float | None
    below_frozen: int
    troubled: int
    worst: list[Device]
    events: list[Event]


class Forecasting(TypedDict):
    """A rollout that is only thought of. release: of its bundle; devices that run it or a newer one try nothing."""

    name: str
    plan: NotRequired[dict[str, Any] | None]
    release: NotRequired[int | None]


class Forget(TypedDict):
    """since_s: to the newest mark before this moment (Unix time in seconds)."""

    since_s: float


class Forgetting(TypedDict):
    """waits: whether the running service has still to do it."""

    waits: bool


class GivenAct(TypedDict):
    """What somebody said of a window. state: asked, done, or failed with a problem; at_s: Unix time."""

    device: str
    window: str
    number: int
    act: str
    class_name: str
    command: str
    who: str
    at_s: float
    state: str
    problem: str


class Group(TypedDict):
    """A group, and who is on its list."""

    group: str
    kind: str
    devices: int
    filter: str
    members: list[str]


class GroupView(TypedDict):
    """A group. kind: ``list`` or ``filter``; devices: how many belong to it now; filter: empty for a list."""

    group: str
    kind: str
    devices: int
    filter: str


class HeadSpanView(TypedDict):
    """A head that served on a device."""

    head: str
    since_s: float
    labels: int
    served: float | None
    frozen: float | None


class HeadVersion(TypedDict):
    """A head that is kept."""

    version: int
    method: str
    published_s: float
    devices: int
    samples: int
    size: int
    more_samples: int | None
    accuracy: float | None
    trial: str
    field_labels: int
    served: float | None
    frozen: float | None


class HeadView(TypedDict):
    """A published head. published_s: wall clock."""

    version: int
    method: str
    space: str
    published_s: float
    size: int


class HeadWanted(TypedDict):
    """Which head of a feature space is to be published again and held; 0: none, the held one is let go."""

    version: int


class Health(TypedDict):
    """Whether the API and its database answer."""

    status: str


class InboxItem(TypedDict):
    """Something that waits for a person."""

    kind: str
    subject: str
    urgency: int
    since_s: float
    summary: str
    command: str
    number: NotRequired[int]
    windows: NotRequired[int]
    margin: NotRequired[float]


class InboxPage(TypedDict):
    """counts: of each kind, whatever the page shows; windows: that want a label, of all devices together."""

    items: list[InboxItem]
    counts: dict[str, int]
    windows: int
    next: str


class InfluenceView(TypedDict):
    """What each device brings the head, the worst first."""

    bundle: str
    rows: int
    accuracy: float
    loss: float
    devices: list[DeviceInfluence]
    without_a_head: list[str]


LabelAct = Literal["label", "none", "skip", "undo"]


class LabelWanted(TypedDict):
    """What to say of a window. class_name: with the act ``label`` alone."""

    window: str
    act: NotRequired[LabelAct]
    class_name: NotRequired[str]


class LabelsGiven(TypedDict):
    """What several windows of a device were; a window that is named twice must have the same class."""

    labels: list[WindowLabel]


class ListChange(TypedDict):
    """Devices to put on the list of a group, and to take off it."""

    add: NotRequired[list[str]]
    remove: NotRequired[list[str]]


class LossView(TypedDict):
    """Paired losses of one kind, new bundle less old one."""

    devices: int
    windows: int
    mean: float | None
    error: float | None


class Me(TypedDict):
    """The caller."""

    user: str
    role: Role


class Nearest(TypedDict):
    """The labelled window that is most like another; distance: root mean square of the differences of the codes."""

    id: str
    label: str
    distance: float


class NewCode(TypedDict):
    """A join code, which nobody is told a second time."""

    code: str
    device: str
    expires_s: float


class NewToken(TypedDict):
    """A token with its text, which nobody is told a second time."""

    token: str
    id: str
    user: str
    label: str
    role: str
    created_s: float
    expires_s: float


class NotAsked(TypedDict):
    """A device that was not asked, and why."""

    device: str
    problem: str


class Note(TypedDict):
    """A note on a device; an empty text for none."""

    text: str


class NumberedEvent(TypedDict):
    """The same. number: grows with every event of the fleet."""

    device: str
    name: str
    detail: Any
    received_s: float
    number: int


class Order(TypedDict):
    """Which bundle (sha256, none to withdraw) which devices should run; `everybody`: those that join later, too."""

    bundle: str | None
    devices: NotRequired[list[str]]
    everybody: NotRequired[bool]


class Ordered(TypedDict):
    """Whom an order is for."""

    devices: int


class PrivacyView(TypedDict):
    """Of one feature space. waits: whether a head waits for devices_min devices and labels_min labels that are new."""

    space: str
    waits: bool
    new_devices: int
    devices_min: int
    new_labels: int
    labels_min: int
    epsilon: float
    delta: float
    unit: str
    interval_s: float
    epsilon_spent: NotRequired[float]
    noise_multiplier: NotRequired[float]
    heads: NotRequired[int]
    heads_left: NotRequired[int]
    last_s: NotRequired[float]


class Problem(TypedDict):
    """RFC 9457. detail: one line with what was wrong, the value and the fix."""

    title: str
    status: int
    detail: str


class Quarantine(TypedDict):
    """Why a device is set aside, for people."""

    reason: NotRequired[str]


class Quiet(TypedDict):
    """Alerts that are not to be told: those that fit all that is given. lasts: 30min, 2h, 7d."""

    rule: NotRequired[str]
    device: NotRequired[str]
    filter: NotRequired[str]
    lasts: str
    remark: NotRequired[str]


class RefusalRow(TypedDict):
    """How often one kind of input of one device was refused, and the last problem in words."""

    device: str
    reason: str
    count: int
    problem: str
    last_s: float


class Removal(TypedDict):
    """A removal that was done. record: canonical JSON; signature: Ed25519 over it, hexadecimal, empty without a key."""

    number: int
    record: str
    signature: str


class Revoked(TypedDict):
    """How many certificates were good until now."""

    device: str
    certificates: int


Role = Literal["share", "viewer", "operator", "admin"]


class RolloutDeviceView(TypedDict):
    """A device of a rollout. stage: from 1; state: what the device confirmed last; problem: why it failed there."""

    device: str
    stage: int
    state: str
    problem: str


class RolloutView(TypedDict):
    """A rollout. stage: from 1; why: in words; device_states: how many are in each."""

    rollout: str
    bundle: str
    version: str
    release: int
    state: str
    stage: int
    stages: int
    phase: str
    why: str
    created_s: float
    state_since_s: float
    device_states: dict[str, int]


class Rule(TypedDict):
    """What makes an alert."""

    name: str
    watches: str
    condition: str
    severity: str
    for_s: float
    enabled: bool
    changed_s: float
    built_in: bool


class RuleWanted(TypedDict):
    """What to make of a rule; what is left out stays. condition: a filter, a duration, or states of rollouts."""

    watches: NotRequired[Watches | None]
    condition: NotRequired[str]
    severity: NotRequired[Severity | None]
    for_s: NotRequired[float | None]
    enabled: NotRequired[bool | None]


class SettingDifference(TypedDict):
    """A setting that is not as it is wanted, and why."""

    key: str
    wanted: bool | int | float | str
    reported: bool | int | float | str | None
    reason: str


class SettingsChange(TypedDict):
    """Settings to set, by table.key, and to give back, of the fleet, of a group or of a device."""

    scope: Literal["fleet", "group", "device"]
    name: NotRequired[str]
    set: NotRequired[dict[str, bool | int | float | str]]
    unset: NotRequired[list[str]]
    priority: NotRequired[int | None]


Severity = Literal["info", "warning", "critical"]


class SilenceRow(TypedDict):
    """Alerts that are not told until then. rule, device, condition (a filter): those that it is about; empty: any."""

    number: int
    rule: str
    device: str
    condition: str
    until_s: float
    who: str
    remark: str
    created_s: float


class SpaceView(TypedDict):
    """One feature space, and the newest head of it."""

    space: str
    bundle: str
    head: int
    method: str
    devices: int
    samples: int
    reported: int
    state: str
    held: NotRequired[int]


class StageForecast(TypedDict):
    """What a stage would do, see `aggregator.rollouts.StageForecast`."""

    devices: list[str]
    labelled: int
    tries: int
    labels_per_hour: float
    hours: float | None


class StageView(TypedDict):
    """What a stage of a rollout shows so far."""

    stage: int
    who: str
    devices: int
    device_states: dict[str, int]
    approve: bool
    windows_min: int
    devices_min: int
    margin: float
    errors: float
    frozen: LossView
    served: LossView
    outcome: str


class Steering(TypedDict):
    """What should become of a rollout, and why."""

    act: Act
    remark: NotRequired[str]


class Tagged(TypedDict):
    """Who was tagged."""

    devices: list[str]


class Tagging(TypedDict):
    """Tags to set and to take away, of named devices or of those that a filter finds."""

    devices: NotRequired[list[str]]
    filter: NotRequired[str]
    set: NotRequired[dict[str, str]]
    unset: NotRequired[list[str]]


class TokenView(TypedDict):
    """A token, without its text."""

    id: str
    user: str
    label: str
    role: str
    created_s: float
    expires_s: float


class TokenWanted(TypedDict):
    """A token of the caller. role: none for the caller's own; share: for a link that only looks."""

    label: NotRequired[str]
    role: NotRequired[Role | None]
    expires: NotRequired[str]


class UnlabelledWindow(TypedDict):
    """A window whose class a device wants to know. problem: why the device refused what was said of it, or empty."""

    id: str
    at_s: float
    served_by: str
    probabilities: dict[str, float]
    margin: float
    nearest: Nearest | None
    sketch: WindowSketch | None
    problem: str


class UserView(TypedDict):
    """A user of the API."""

    user: str
    role: str
    has_password: bool
    created_s: float


class UserWanted(TypedDict):
    """A user. password: none keeps the one that there is, if any."""

    role: Role
    password: NotRequired[str | None]


class WantedLabels(TypedDict):
    """What a device wants to know, the least certain window first, and what was said, the newest first."""

    device: str
    classes: list[str]
    received_s: float
    windows: list[UnlabelledWindow]
    acts: list[GivenAct]


class WantedSetting(TypedDict):
    """A setting that is wanted of a device, and of whom."""

    value: bool | int | float | str
    scope: str
    name: str


class WantedSettings(TypedDict):
    """What is wanted of the fleet, of a group or of a device."""

    scope: str
    name: str
    priority: int
    settings: dict[str, bool | int | float | str]
    changed_s: float


Watches = Literal["devices", "certificates", "rollouts", "heads"]


class WindowLabel(TypedDict):
    """The class of a window."""

    window: str
    class_name: str


class WindowSketch(TypedDict):
    """A window drawn small: rows in base64, a byte for a value from low (1) to high (255), 0 for a missing one."""

    kind: str
    low: float
    high: float
    rows: list[str]
