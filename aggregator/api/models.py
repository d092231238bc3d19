"""What requests and answers of the API look like, where no function's own result says so."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
    create_model,
)

from aggregator.access import Role
from aggregator.operations import DayView
from aggregator.registry import SHOWN
from aggregator.rollouts import Act
from aggregator.store import RegistryRow

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
NAME_OR_NONE_PATTERN = r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"
# of those that aggregator.durations reads
DURATION_PATTERN = r"^0*[1-9][0-9]{0,4}(\.[0-9]{1,6})?(s|m|min|h|d|w)$"
DEVICES_MAX = 10_000

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
# strict: true is no number, and 1 no truth
Setting = StrictBool | StrictInt | StrictFloat | StrictStr
Sha256 = Annotated[str, StringConstraints(pattern=SHA256_PATTERN)]
Duration = Annotated[str, StringConstraints(pattern=DURATION_PATTERN)]
FilterText = Annotated[str, StringConstraints(max_length=4000)]
Names = Annotated[list[Name], Field(max_length=DEVICES_MAX)]


class Body(BaseModel):
    """What is sent: a key that is not known is refused, not overlooked."""

    model_config = ConfigDict(extra="forbid")


class Tagging(Body):
    """Tags to set and to take away, of named devices or of those that a filter finds."""

    devices: Names = []
    filter: FilterText = ""
    set: dict[str, Annotated[str, StringConstraints(max_length=256)]] = {}
    unset: Annotated[list[str], Field(max_length=64)] = []


class Note(Body):
    """A note on a device; an empty text for none."""

    text: Annotated[str, StringConstraints(max_length=2000)]


class FilterGroup(Body):
    """A group that is a filter."""

    filter: Annotated[str, StringConstraints(min_length=1, max_length=4000)]


class ListChange(Body):
    """Devices to put on the list of a group, and to take off it."""

    add: Names = []
    remove: Names = []


class Order(Body):
    """Which bundle (sha256, none to withdraw) which devices should run; `everybody`: those that join later, too."""

    bundle: Sha256 | None
    devices: Names = []
    everybody: bool = False


class Beginning(Body):
    """A rollout. plan: the tables of a plan (docs/howto/roll-out.md) as JSON; none for 5 %, 25 %, all."""

    name: Name
    bundle: Sha256
    plan: dict[str, Any] | None = None


class Forecasting(Body):
    """A rollout that is only thought of. release: of its bundle; devices that run it or a newer one try nothing."""

    name: Name
    plan: dict[str, Any] | None = None
    release: Annotated[int, Field(ge=0, le=2**53)] | None = None


class Steering(Body):
    """What should become of a rollout, and why."""

    act: Act
    remark: Annotated[str, StringConstraints(max_length=2000)] = ""


class HeadWanted(Body):
    """Which head of a feature space is to be published again and held; 0: none, the held one is let go."""

    version: Annotated[int, Field(ge=0, le=2**53)]


class SettingsChange(Body):
    """Settings to set, by table.key, and to give back, of the fleet, of a group or of a device.

    priority: of a group; where a device is in several, the highest wins.
    """

    scope: Literal["fleet", "group", "device"]
    name: Annotated[str, StringConstraints(pattern=NAME_OR_NONE_PATTERN)] = ""
    set: dict[str, Setting] = {}
    unset: Annotated[list[str], Field(max_length=256)] = []
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] | None = None


class CommandWanted(Body):
    """A command to one device. expires: 30m, 24h or 7d from now; after that it is not begun any more."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z-]{0,31}$")]
    arguments: dict[str, StrictInt | StrictStr] = {}
    expires: Duration = "1h"


class CommandsWanted(CommandWanted):
    """A command to every device that meets a filter now, or belongs to a group."""

    filter: FilterText = ""
    group: Annotated[str, StringConstraints(pattern=NAME_OR_NONE_PATTERN)] = ""


class CodeWanted(Body):
    """A code for one device, or a reusable one. expires: 30m, 24h or 7d from now."""

    device: Name | None = None
    groups: Annotated[list[Name], Field(max_length=64)] = []
    reusable: bool = False
    count_max: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    expires: Duration = "24h"


class UserWanted(Body):
    """A user. password: none keeps the one that there is, if any."""

    role: Role
    password: Annotated[str, StringConstraints(min_length=12, max_length=1000)] | None = None


class TokenWanted(Body):
    """A token of the caller. role: none for the caller's own; share: for a link that only looks."""

    label: Annotated[str, StringConstraints(max_length=100)] = ""
    role: Role | None = None
    expires: Duration = "30d"


class Me(BaseModel):
    """The caller."""

    user: str
    role: Role


class Health(BaseModel):
    """Whether the API and its database answer."""

    status: str


class Asked(BaseModel):
    """An act that the running service carries out within its housekeeping interval."""

    asked: str
    subject: str


class Tagged(BaseModel):
    """Who was tagged."""

    devices: list[str]


class Group(BaseModel):
    """A group, and who is on its list."""

    group: str
    kind: str
    devices: int
    filter: str
    members: list[str]


class Bundle(BaseModel):
    """A bundle that is kept to be handed out."""

    sha256: str
    size: int
    name: str
    version: str
    release: int
    space: str


class Ordered(BaseModel):
    """Whom an order is for."""

    devices: int


class StageForecast(BaseModel):
    """What a stage would do, see `aggregator.rollouts.StageForecast`."""

    devices: list[str]
    labelled: int
    tries: int
    labels_per_hour: float
    hours: float | None


class NewCode(BaseModel):
    """A join code, which nobody is told a second time."""

    code: str
    device: str
    expires_s: float


class Revoked(BaseModel):
    """How many certificates were good until now."""

    device: str
    certificates: int


class WantedSettings(BaseModel):
    """What is wanted of the fleet, of a group or of a device."""

    scope: str
    name: str
    priority: int
    settings: dict[str, Setting]
    changed_s: float


class WantedSetting(BaseModel):
    """A setting that is wanted of a device, and of whom."""

    value: Setting
    scope: str
    name: str


class SettingDifference(BaseModel):
    """A setting that is not as it is wanted, and why."""

    key: str
    wanted: Setting
    reported: Setting | None
    reason: str


class DeviceSettings(BaseModel):
    """Settings of a device: wanted, as it reports them, and what differs."""

    device: str
    state: str
    version: int
    wanted: dict[str, WantedSetting]
    reported: dict[str, Setting] | None
    reported_version: int | None
    from_afar: list[str]
    refused: dict[str, str]
    problem: str
    differences: list[SettingDifference]


class Quarantine(Body):
    """Why a device is set aside, for people."""

    reason: Annotated[str, Field(max_length=200)] = ""


def _device_fields() -> dict[str, Any]:
    types = get_type_hints(RegistryRow)
    told: dict[str, Any] = {each.name: (types[each.name], ...) for each in fields(RegistryRow) if each.name in SHOWN}
    told |= {"online": (bool, ...), "source": (str, ...), "quarantined": (str, ...), "note": (str, ...)}
    return told | {"tags": (dict[str, str], ...), "attributes": (dict[str, str], ...)}


Device: Any = create_model("Device", __doc__="A device, see docs/howto/find-devices.md.", **_device_fields())
DeviceInFull: Any = create_model(
    "DeviceInFull", __base__=Device, __doc__="A device, its groups and its last days.",
    groups=(list[str], ...), days=(list[DayView], ...),
)  # fmt: skip
DevicePage: Any = create_model(
    "DevicePage", __doc__="Devices in order. next: for `after`, empty behind the last.",
    devices=(list[Device], ...), next=(str, ...),
)  # fmt: skip


class DeviceCommand(BaseModel):
    """What a device was asked, and what came of it. state: asked, sent, done, failed or expired; times: Unix time.

    number: grows with every command of the fleet. takes_commands: the device has said that it does."""

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


class CommandPage(BaseModel):
    """Commands by device. next: for `after`, empty behind the last."""

    commands: list[DeviceCommand]
    next: str
