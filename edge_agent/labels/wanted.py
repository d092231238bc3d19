"""Says of which windows the device would like to know the class: the first ones of `choosing.WindowChoice`, with what
helps people to tell. It also saves what was dismissed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np

from edge_agent.labels.choosing import DISMISSED_MAX, WindowChoice
from edge_agent.labels.remembered import RememberedWindows, Window
from edge_agent.labels.sketches import sketch_of
from edge_agent.labels_wanted_settings import LabelsWantedSettings
from edge_agent.learner import HeadLearner
from edge_agent.store import WANTED, Extent, Saved
from headway.arrays import Float32
from headway.durable import checked, unchecked
from headway.errors import StoreError
from headway.fields import Fields, JsonValue, canonical_json, parse_json
from headway.maths import Task
from headway.printable import is_printable
from headway.samples import no_label
from headway.wire import PROBABILITIES_MAX, LabelsWanted, NearestLabel, Sketch, WantedLabel, can_be_asked_about

# labelled windows among which the nearest is looked for, the newest
NEAREST_AMONG_MAX = 1024
SAVED_BYTES_MAX = 1 << 20
DIGITS = 4
# of the most probable classes, whose probabilities are told
CLASSES_TOLD = min(5, PROBABILITIES_MAX)


class WantedLabels:
    """Beside one learner; `windows` are those that may be asked about. Of classifiers alone: others ask for nothing.

    choice: which windows, in which order.
    """

    def __init__(self, learner: HeadLearner, windows: RememberedWindows, settings: LabelsWantedSettings) -> None:
        self._learner, self._windows, self._settings = learner, windows, settings
        self.choice = WindowChoice(learner, windows)
        # when each window came, and its sketch
        self._seen: OrderedDict[str, tuple[float, Sketch | None]] = OrderedDict()
        self._listed: tuple[str, ...] = ()
        self._changed = False
        self._looked: tuple[object, ...] = ()
        self._message: LabelsWanted | None = None

    def see(self, ids: Sequence[str], windows: Float32, seen_s: float) -> None:
        """Windows came, as the sensor gave them, float32 (n, *input_shape). seen_s: wall clock."""
        for window_id in ids:
            self.choice.seen(window_id)
        if not self._asks:
            return
        for window_id, window in zip(ids, windows, strict=False):
            self._seen.pop(window_id, None)
            sketch = sketch_of(window, self._settings.sketch_bytes) if self._settings.send_windows else None
            self._seen[window_id] = round(seen_s, 1), sketch
        while len(self._seen) > self._windows.rows_max:
            self._seen.popitem(last=False)

    def dismiss(self, window_id: str) -> None:
        """Do not ask about a window again. Commit afterwards."""
        self.choice.dismiss(window_id)
        self._changed, self._looked = True, ()

    def readmit(self, window_id: str) -> bool:
        """Take that back; False where there was nothing to take back. Commit afterwards."""
        if not self.choice.readmit(window_id):
            return False
        self._changed, self._looked = True, ()
        return True

    def message(self) -> LabelsWanted | None:
        """What the device asks for now; None when it never asks."""
        if not self._asks:
            return None
        state = self._windows.version, self._learner.classes, tuple(self._learner.removed)
        if self._message is None or state != self._looked:
            self._looked, self._message = state, self._look()
            listed = tuple(window.id for window in self._message.windows)
            self._changed |= listed != self._listed
            self._listed = listed
        return self._message

    def take_changes(self, extent: Extent) -> Saved:
        """What was dismissed, and of the windows that are listed when they came: what others were is lost with the
        process."""
        if not self._changed and not (extent is Extent.EVERYTHING and (self.choice.dismissed or self._listed)):
            return Saved({})
        self._changed = False
        seen = [_seen_row(window_id, *self._seen[window_id]) for window_id in self._listed if window_id in self._seen]
        return Saved({WANTED: checked(canonical_json({"dismissed": [*self.choice.dismissed], "seen": seen}))})

    def restore(self, saved: Mapping[str, bytes]) -> None:
        """Raises StoreError."""
        if WANTED not in saved:
            return
        where = "saved wishes for labels"
        fields = Fields(
            parse_json(unchecked(saved[WANTED], where), where, StoreError, SAVED_BYTES_MAX), where, StoreError
        )
        self.choice.restore(fields.strings("dismissed", count_max=DISMISSED_MAX))
        for row in fields.tables("seen"):
            sketch = Sketch.read(row.table("sketch")) if row.has("sketch") else None
            self._seen[row.text("id")] = row.number("at_s"), sketch
            row.finish()
        fields.finish()

    def answered(self, message: LabelsWanted) -> bool:
        """Whether every window of a list has a label now, or was dismissed."""
        return bool(message.windows) and all(self._is_answered(window.id) for window in message.windows)

    def _is_answered(self, window_id: str) -> bool:
        window = self._windows.get(window_id)
        return window is not None and (window_id in self.choice.dismissed or not no_label(window.label))

    @property
    def unsaved(self) -> bool:
        """Whether a commit would save anything."""
        return self._changed

    @property
    def _asks(self) -> bool:
        return self._settings.windows_max > 0 and self._learner.task is Task.CLASSIFICATION

    def _look(self) -> LabelsWanted:
        learner = self._learner
        kept = [at for at, name in enumerate(learner.classes) if name not in learner.removed and is_printable(name)]
        labelled = self._windows.labelled(NEAREST_AMONG_MAX)
        asked = self.choice.ranked()[: self._settings.windows_max]
        found = [(each, self._windows.get(each)) for each in asked]
        wanted = [self._wanted(each, window, kept, labelled) for each, window in found if window is not None]
        return LabelsWanted(tuple(learner.classes[at] for at in kept), tuple(filter(None, wanted))).fitting()

    def _wanted(
        self, window_id: str, window: Window, kept: list[int], labelled: list[tuple[str, Window]]
    ) -> WantedLabel | None:
        probability, classes = window.probability[0], self._learner.classes
        probable = sorted((at for at in kept if at < len(probability)), key=lambda at: (-float(probability[at]), at))
        named = {classes[at]: _share(float(probability[at])) for at in probable[:CLASSES_TOLD]}
        if not named:
            return None
        seen_s, sketch = self._seen.get(window_id, (0.0, None))
        nearest = _nearest(window, labelled, classes)
        return WantedLabel(window_id, max(seen_s, 0.0), window.served_by, named, nearest, sketch)


def _nearest(window: Window, labelled: list[tuple[str, Window]], classes: Sequence[str]) -> NearestLabel | None:
    """The newest of those that are nearest in codes. Whole numbers in float64, so it is the same on every machine."""
    fitting = [
        (window_id, other) for window_id, other in labelled
        if other.codes.shape == window.codes.shape and isinstance(other.label, int) and can_be_asked_about(window_id)
    ]  # fmt: skip
    if not fitting:
        return None
    codes = np.concatenate([other.codes for _, other in fitting]).astype(np.float64)
    squares = ((codes - window.codes.astype(np.float64)) ** 2).sum(axis=1)
    window_id, other = fitting[int(squares.argmin())]
    name = classes[int(other.label)]
    distance = float(np.sqrt(squares.min() / codes.shape[1]))
    return NearestLabel(window_id, name, round(distance, 2)) if is_printable(name) else None


def _share(value: float) -> float:
    """A probability in few digits; what is no number, of a model that is broken, is none."""
    return round(min(1.0, max(0.0, value)), DIGITS) if np.isfinite(value) else 0.0


def _seen_row(window_id: str, at_s: float, sketch: Sketch | None) -> JsonValue:
    row: dict[str, JsonValue] = {"id": window_id, "at_s": at_s}
    return row if sketch is None else row | {"sketch": sketch.to_json()}
