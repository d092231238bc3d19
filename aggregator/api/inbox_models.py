"""What requests and answers about the inbox look like."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from aggregator.api.models import Body
from aggregator.inbox import LabelAct
from aggregator.operations import LABELS_MAX


class LabelWanted(Body):
    """What to say of a window. class_name: with the act ``label`` alone."""

    window: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    act: LabelAct = LabelAct.LABEL
    class_name: Annotated[str, StringConstraints(max_length=256)] = ""


class WindowLabel(Body):
    """The class of a window."""

    window: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    class_name: Annotated[str, StringConstraints(min_length=1, max_length=256)]


class LabelsGiven(Body):
    """What several windows of a device were; a window that is named twice must have the same class."""

    labels: Annotated[list[WindowLabel], Field(min_length=1, max_length=LABELS_MAX)]


class GivenAct(BaseModel):
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


class Nearest(BaseModel):
    """The labelled window that is most like another; distance: root mean square of the differences of the codes."""

    id: str
    label: str
    distance: float


class WindowSketch(BaseModel):
    """A window drawn small: rows in base64, a byte for a value from low (1) to high (255), 0 for a missing one."""

    kind: str
    low: float
    high: float
    rows: list[str]


class UnlabelledWindow(BaseModel):
    """A window whose class a device wants to know. problem: why the device refused what was said of it, or empty."""

    id: str
    at_s: float
    served_by: str
    probabilities: dict[str, float]
    margin: float
    nearest: Nearest | None
    sketch: WindowSketch | None
    problem: str


class WantedLabels(BaseModel):
    """What a device wants to know, the least certain window first, and what was said, the newest first."""

    device: str
    classes: list[str]
    received_s: float
    windows: list[UnlabelledWindow]
    acts: list[GivenAct]
