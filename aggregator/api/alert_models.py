"""What requests and answers about alerts look like."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from aggregator.alerts import Severity, Watches
from aggregator.api.models import NAME_OR_NONE_PATTERN, Body, FilterText

DURATION_PATTERN = r"^[1-9][0-9]{0,4}(s|min|h|d|w)$"
Text = Annotated[str, StringConstraints(max_length=2000)]
NameOrNone = Annotated[str, StringConstraints(pattern=NAME_OR_NONE_PATTERN)]


class Acknowledgement(Body):
    """What somebody says who looks after an alert."""

    remark: Text = ""


class RuleWanted(Body):
    """What to make of a rule; what is left out stays. condition: a filter, a duration, or states of rollouts."""

    watches: Watches | None = None
    condition: FilterText = ""
    severity: Severity | None = None
    for_s: Annotated[float, Field(ge=0.0, le=1e9)] | None = None
    enabled: bool | None = None


class Quiet(Body):
    """Alerts that are not to be told: those that fit all that is given. lasts: 30min, 2h, 7d."""

    rule: NameOrNone = ""
    device: NameOrNone = ""
    filter: FilterText = ""
    lasts: Annotated[str, StringConstraints(pattern=DURATION_PATTERN)]
    remark: Text = ""


class Alert(BaseModel):
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


class Rule(BaseModel):
    """What makes an alert."""

    name: str
    watches: str
    condition: str
    severity: str
    for_s: float
    enabled: bool
    changed_s: float
    built_in: bool
