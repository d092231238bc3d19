"""Reads what a device wants to know, beside what people said: those of its windows that nobody said anything about.

A window is open while the device lists it and no act stands for it. An act that the device refused stands no longer; a
window of which everything was taken back is open at once, before the device has listed it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from aggregator.store import ReadableStore, Store
from aggregator.store.rows import LABEL_ACTS, LABELS_WANTED, WANTED_LISTS, LabelActRow, LabelsWantedRow
from headway.errors import RemoteError
from headway.fields import Fields, JsonValue, canonical_json
from headway.wire import LabelsWanted, NearestLabel, Sketch, WantedLabel


class LabelAct(StrEnum):
    """What is said of a window. none: it is of none of the device's classes; skip: somebody does not want to say."""

    LABEL = "label"
    NONE = "none"
    SKIP = "skip"
    UNDO = "undo"


class ActState(StrEnum):
    """Of what somebody said of a window. asked: the device has not answered yet; failed: it refused."""

    ASKED = "asked"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class WantedWindow:
    """A window whose class a device wants to know. problem: why the device refused what was said of it, or empty."""

    id: str
    at_s: float
    served_by: str
    probabilities: Mapping[str, float]
    margin: float
    nearest: NearestLabel | None
    sketch: Sketch | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class WantedView:
    """What one device wants. windows: the open ones, the least certain first; acts: what was said, the newest first.

    classes: the device's own; received_s: wall clock, 0: it has told nothing.
    """

    device: str
    classes: tuple[str, ...]
    windows: list[WantedWindow]
    acts: list[LabelActRow]
    received_s: float


def wanted_view(store: ReadableStore, device: str) -> WantedView:
    """In a transaction."""
    kept = store.rows(WANTED_LISTS).get(device)
    told = LabelsWanted(()) if kept is None else _decoded(kept.payload)
    acts = {row.window: row for row in store.rows(LABEL_ACTS).all(device)}
    shown: list[WantedWindow] = []
    for window in told.windows:
        act = acts.get(window.id)
        if act is None or not stands(act):
            shown.append(_shown(window, "" if act is None else act.problem))
    listed = {window.id for window in told.windows}
    for act in acts.values():
        taken_back = act.act == LabelAct.UNDO and act.state != ActState.FAILED
        if taken_back and act.window not in listed and act.window_json:
            shown.append(_shown(read_window(act.window_json), ""))
    shown.sort(key=lambda window: window.margin)  # stable: among equals as the device has it
    newest = sorted(acts.values(), key=lambda row: -row.number)
    return WantedView(device, told.classes, shown, newest, 0.0 if kept is None else kept.received_s)


def stands(act: LabelActRow) -> bool:
    """Whether it keeps its window off the list."""
    return act.act != LabelAct.UNDO and act.state != ActState.FAILED


def recount(store: Store, device: str, now_s: float) -> None:
    """Keep how many windows of a device are open, for who looks at the whole fleet. In a transaction."""
    windows = wanted_view(store, device).windows
    kept = store.rows(LABELS_WANTED)
    known = kept.get(device)
    if not windows:
        kept.remove(device)
        return
    row = LabelsWantedRow(device, len(windows), windows[0].margin, now_s if known is None else known.since_s)
    if row != known:
        kept.put(row)


def listed_window(store: Store, device: str, window_id: str) -> str:
    """A window as the device's list has it now, as a JSON text; empty where it has not. In a transaction."""
    kept = store.rows(WANTED_LISTS).get(device)
    windows = () if kept is None else _decoded(kept.payload).windows
    found = [canonical_json(window.to_json()).decode() for window in windows if window.id == window_id]
    return found[0] if found else ""


def read_window(text: str) -> WantedLabel:
    """Inverse of what `listed_window` gives."""
    return WantedLabel.read(Fields(json.loads(text), "kept window", RemoteError))


def plain_window(window: WantedWindow) -> dict[str, JsonValue]:
    """For JSON."""
    return {
        "id": window.id, "at_s": window.at_s, "served_by": window.served_by,
        "probabilities": {**window.probabilities}, "margin": window.margin,
        "nearest": None if window.nearest is None else window.nearest.to_json(),
        "sketch": None if window.sketch is None else window.sketch.to_json(), "problem": window.problem,
    }  # fmt: skip


def _shown(window: WantedLabel, problem: str) -> WantedWindow:
    return WantedWindow(
        window.id, window.at_s, window.served_by, window.probabilities, window.margin, window.nearest, window.sketch,
        problem,
    )  # fmt: skip


def _decoded(payload: bytes) -> LabelsWanted:
    """What is stored was checked when it came."""
    return LabelsWanted.decode(payload)
