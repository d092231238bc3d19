"""Declares what is kept of labels that devices want: how many each wants, its newest list, and what people said."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class LabelsWantedRow:
    """A device that wants labels. windows: of its list, those that nobody said anything about; margin: of the least
    certain of them; since_s: wall clock, since when it has wanted any."""

    device: str
    windows: int
    margin: float
    since_s: float


@dataclass(frozen=True, slots=True)
class WantedListRow:
    """The newest list of a device, `headway.wire.LabelsWanted` as it came; received_s: wall clock."""

    device: str
    payload: bytes
    received_s: float


@dataclass(frozen=True, slots=True)
class LabelActRow:
    """What somebody said of a window. act: see `aggregator.inbox.LabelAct`; class_name: of ``label``, else empty.

    number: grows with every act of the fleet. command: id of the device's command, empty where it was sent none. state:
    see `aggregator.inbox.ActState`, with problem where the device refused. window_json: the window as it was listed, a
    JSON text; empty where it was not. who: as in the audit log. at_s: wall clock.
    """

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
    window_json: str


LABELS_WANTED = Collection("labels_wanted", LabelsWantedRow, ("device",))
WANTED_LISTS = Collection("labels_wanted_lists", WantedListRow, ("device",))
LABEL_ACTS = Collection("label_acts", LabelActRow, ("device", "window"), indexed=("state",))
