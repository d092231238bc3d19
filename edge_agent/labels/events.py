"""Turns what happens to the learner into events for people: head changes, drift, labels that would help or are doubted.

Everything goes out as an event, and the newest records are kept durably (``edge-agent explain``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain

from edge_agent.labels.choosing import WindowChoice
from edge_agent.labels.remembered import RememberedWindows
from edge_agent.learner import Doubt, HeadLearner
from edge_agent.learner.drift import Drift, FeatureShift, Shift
from edge_agent.learner.gate import Decision
from edge_agent.pipeline import Features
from edge_agent.store import RECORDS, SHIFT, Extent, Saved
from headway.durable import checked, unchecked
from headway.errors import StoreError
from headway.fields import Fields, JsonValue, canonical_json, parse_json
from headway.wire import Event

DRIFT = "drift"
RECORDS_MAX = 64
RECORDS_BYTES_MAX = 4 << 20
ASKED_MAX = 4096
TOLD_MAX = 1024
UNSENT_MAX = 1024
DIGITS = 4


class EventLog:
    """Beside one learner and its `windows`. choice: which of them may be asked about."""

    def __init__(self, learner: HeadLearner, windows: RememberedWindows, choice: WindowChoice) -> None:
        self._learner, self._windows, self._choice = learner, windows, choice
        watched = learner.settings.feature_drift and learner.variant.feature_statistics.samples > 0
        self._shift = FeatureShift(learner.variant.feature_statistics) if watched else None
        self._shifts: list[Shift] = []
        # beyond it the oldest go unsent; the newest are kept as records all the same
        self._unsent: deque[Event] = deque(maxlen=UNSENT_MAX)
        self._records: deque[JsonValue] = deque(maxlen=RECORDS_MAX)
        self._changed = False
        self._asked: deque[str] = deque(maxlen=ASKED_MAX)
        # number and class of the labels that were told to be doubted: each is told once
        self._told: deque[tuple[int, int]] = deque(maxlen=TOLD_MAX)
        self.alarms = 0
        self._last_drift_s: float | None = None

    def see(self, features: Features) -> None:
        """Windows came in, labelled or not."""
        alarm = None if self._shift is None else self._shift.add(features.codes)
        if alarm is not None:
            self._shifts.append(alarm)
            self.alarms += 1

    def record(self, wall_s: float) -> None:
        """Put into words what happened since the last call; it becomes durable with the next commit."""
        learner = self._learner
        decisions, drifts = learner.take_decisions(), learner.take_drifts()
        shifts, self._shifts = self._shifts, []
        for decision in decisions:
            self._note("head-changed", _of_decision(decision), wall_s)
        for drift in drifts:
            self._note(DRIFT, _of_drift(drift), wall_s)
        for shift in shifts:
            self._note(DRIFT, _of_shift(shift), wall_s)
        self.alarms += len(drifts)
        if drifts or shifts:
            self.ask(wall_s, self._learner.settings.wanted_labels_max, frozenset(self._asked))
        self._tell_doubts(wall_s)

    def take_events(self, wall_s: float) -> list[Event]:
        """Events since the last call."""
        self.record(wall_s)
        events = list(self._unsent)
        self._unsent.clear()
        return events

    @property
    def records(self) -> list[JsonValue]:
        """The newest records, oldest first, as `read_records`."""
        return list(self._records)

    @property
    def last_drift_s(self) -> float | None:
        """Unix time of the newest drift alarm that is still on record; None without one."""
        return self._last_drift_s

    def ask(self, wall_s: float, count: int, without: frozenset[str] = frozenset()) -> list[str]:
        """Ask for at most so many labels, of windows that are not in `without`; returns the windows' ids."""
        ids = self._choice.ranked(without)[:count]
        if ids:
            self._asked.extend(ids)
            self._note("labels-wanted", {"ids": [*ids]}, wall_s)
        return ids

    def take_changes(self, extent: Extent) -> Saved:
        """The records when there are new ones, and the sums over features with a checkpoint.

        Losing the newest of those sums costs a delay, not a label, so they are not worth a write per window.
        """
        saved: dict[str, bytes] = {}
        if self._changed or extent is Extent.EVERYTHING:
            saved[RECORDS] = checked(canonical_json({"records": list(self._records), "told": [*chain(*self._told)]}))
            self._changed = False
        if extent >= Extent.CHECKPOINT and self._shift is not None:
            saved[SHIFT] = self._shift.encode()
        return Saved(saved)

    def restore(self, saved: Mapping[str, bytes]) -> None:
        records, told = _read(saved)
        self._records, self._told = deque(records, maxlen=RECORDS_MAX), deque(told, maxlen=TOLD_MAX)
        self._last_drift_s = max((at for name, at in _moments(records) if name == DRIFT), default=None)
        if self._shift is not None and SHIFT in saved:
            self._shift.restore(saved[SHIFT])

    def _tell_doubts(self, wall_s: float) -> None:
        """Labels that are probably wrong, once each, and once more what one is corrected to."""
        new = [doubt for doubt in self._learner.doubts if (doubt.number, doubt.given) not in self._told]
        if new:
            self._told.extend((doubt.number, doubt.given) for doubt in new)
            self._note("labels-doubted", doubted(new, self._learner.classes, self._windows), wall_s)

    def _note(self, name: str, detail: dict[str, JsonValue], wall_s: float) -> None:
        event = Event(name, detail | {"labels": self._learner.labels}, wall_s)
        self._unsent.append(event)
        self._records.append({"name": name, "detail": dict(event.detail), "wall_s": wall_s})
        self._changed = True
        if name == DRIFT:
            self._last_drift_s = wall_s


def read_records(saved: Mapping[str, bytes]) -> list[JsonValue]:
    """The records in a store, oldest first: tables of name, detail, wall_s. Raises StoreError."""
    return _read(saved)[0]


def doubted(doubts: Sequence[Doubt], classes: Sequence[str], windows: RememberedWindows) -> dict[str, JsonValue]:
    """Doubts in words, a list each: ids of the windows, "" where one came without; the class that was given; the one
    that is thought instead; numbers of the labels."""
    ids = windows.ids_of([doubt.number for doubt in doubts])
    return {
        "ids": [ids.get(doubt.number, "") for doubt in doubts],
        "given": [classes[doubt.given] for doubt in doubts],
        "instead": [classes[doubt.instead] for doubt in doubts],
        "numbers": [doubt.number for doubt in doubts],
    }


def _read(saved: Mapping[str, bytes]) -> tuple[list[JsonValue], list[tuple[int, int]]]:
    """Records, oldest first; and number and class of the labels that were told to be doubted."""
    if RECORDS not in saved:
        return [], []
    table = parse_json(unchecked(saved[RECORDS], "saved records"), "saved records", StoreError, RECORDS_BYTES_MAX)
    fields = Fields(table, "saved records", StoreError)
    records: list[JsonValue] = []
    for row in fields.tables("records", count_max=RECORDS_MAX):
        records.append({"name": row.text("name"), "detail": row.mapping("detail"), "wall_s": row.number("wall_s")})
        row.finish()
    told = fields.integers("told", count_max=2 * TOLD_MAX, default=())  # agents before doubts told of none
    fields.finish()
    return records, list(zip(told[::2], told[1::2], strict=True))


def _moments(records: Sequence[JsonValue]) -> list[tuple[object, float]]:
    """Names of records and their Unix times."""
    tables = [record for record in records if isinstance(record, dict)]
    return [(table["name"], float(str(table["wall_s"]))) for table in tables]


def log_line(event: Event) -> str:
    """One line for the log."""
    detail = event.detail
    match event.name:
        case "head-changed":
            return f"serving {detail['after']} instead of {detail['before']} ({detail['by']})"
        case "drift":
            return f"drift by {detail['by']}: {detail['before']} before, {detail['after']} since"
        case "labels-doubted":
            numbers = detail["numbers"]
            return f"{len(numbers) if isinstance(numbers, list) else 0} labels are probably wrong"
        case _:
            ids = detail["ids"]
            return f"labels would help for {len(ids) if isinstance(ids, list) else 0} windows"


def _of_decision(decision: Decision) -> dict[str, JsonValue]:
    scores: dict[str, JsonValue] = {
        name: {"weight": round(s.weight, 3), "loss": round(s.loss, 3)} for name, s in decision.scores.items()
    }
    return {"before": decision.before, "after": decision.after, "by": decision.kind, "scores": scores}


def _of_drift(drift: Drift) -> dict[str, JsonValue]:
    before, after = round(drift.before, DIGITS), round(drift.after, DIGITS)
    return {"by": "error", "before": before, "after": after, "since": drift.since, "label": drift.label}


def _of_shift(shift: Shift) -> dict[str, JsonValue]:
    values: dict[str, JsonValue] = {
        name: round(value, DIGITS) if isinstance(value, float) else value for name, value in asdict(shift).items()
    }
    by = "distance" if shift.by == "distance" else "clipped"
    before, after = values.pop(f"{by}_before"), values.pop(by)
    return values | {"by": by, "before": before, "after": after}
