"""The learner for programs of your own: no service, no spool, no network.

    from edge_agent import Learner

    learner = Learner.open("model.hwb")
    answer = learner.observe(window)         # predict, and remember the window
    learner.label(answer.id, "walk")         # when its label comes: now, later, corrected, or never

Names follow river and scikit-learn where these have one: `predict_one`, `predict_proba_one`, `learn_one`,
`learn_many`; `predict`, `predict_proba`, `partial_fit`, `score`, `classes_`. docs/howto/embed.md shows each.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.labels import RememberedWindows
from edge_agent.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Features, Pipeline
from edge_agent.runtime import open_runtime
from edge_agent.store import CHECKED_NAMES, Extent
from edge_agent.sync import SyncState
from headway.arrays import AnyArray, Float32
from headway.bundle import Variant, read_variant
from headway.durable import checked, unchecked_tensors, write_durably
from headway.errors import DataError, StoreError
from headway.fields import nearest
from headway.maths import SUMS, LabelSums, Task, ValueSums, predicted
from headway.ports import Clock, SystemClock
from headway.samples import ID_CHARACTERS_MAX, UNLABELLED, targets_of
from headway.tensors import decode_tensors, encode_tensors
from headway.wire import Event

STATE_BYTES_MAX = 1 << 30
Label = str | int | Sequence[float] | AnyArray


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one window. probability: float32 (C,) over `Learner.classes`; id: for `label`.

    label: the most probable class; of a multi-label model its labels, joined by ", "; of a regression empty, its
    values being `probability`. served_by: the head that answered.
    """

    id: str
    label: str
    probability: Float32
    served_by: str

    @property
    def source(self) -> str:
        """The old name of `served_by`, for one release."""
        warnings.warn("Prediction.source is called served_by now", DeprecationWarning, stacklevel=2)
        return self.served_by


class Learner:
    """An on-device variant that keeps learning. Not thread-safe: use it from one thread."""

    def __init__(self, variant: Variant, settings: LearnerSettings | None = None, clock: Clock | None = None) -> None:
        settings = settings or LearnerSettings()
        self._clock = clock or SystemClock()
        self._pipeline = Pipeline(variant, open_runtime(variant))
        self._core = Agent(
            "embedded",
            HeadLearner(variant, settings),
            SyncSettings(outbox_rows_max=0),  # there is nobody to send updates to
            SyncState(epoch=0),
            windows=RememberedWindows(settings.horizon_rows),
        )
        self._new_classes = settings.new_classes
        self._space = variant.space
        self._next = 0

    @classmethod
    def open(cls, bundle: str | Path, settings: LearnerSettings | None = None) -> Learner:
        """From a bundle file. Raises BundleError, RuntimeUnavailableError."""
        return cls(read_variant(Path(bundle)), settings)

    @property
    def classes(self) -> tuple[str, ...]:
        return self._core.learner.classes

    @property
    def task(self) -> Task:
        return self._core.learner.task

    @property
    def serving(self) -> str:
        """Name of the head that serves now."""
        return self._core.learner.serving

    @property
    def metrics(self) -> dict[str, float | int]:
        """Prequential figures of what was served: each window was predicted before its label was used."""
        return self._core.learner.served_sums.summary()

    @property
    def classes_(self) -> AnyArray:
        """`classes` as scikit-learn gives them."""
        return np.array(self.classes)

    @property
    def waiting_for_labels(self) -> int:
        """How many observed windows are remembered."""
        return len(self._core.windows)

    def events(self) -> list[Event]:
        """What happened since the last call: ``head-changed``, ``drift``, ``labels-wanted``, with the evidence."""
        return self._core.take_events(self._clock.wall_s())

    def observe(self, x: AnyArray, window_id: str | None = None) -> Prediction:
        """Predict one window and remember it for `label`. x: numeric (*input_shape); window_id: 1 to 128 characters."""
        if window_id is not None and not (isinstance(window_id, str) and 0 < len(window_id) <= ID_CHARACTERS_MAX):
            raise DataError(f"id {str(window_id)[:40]!r}: give a text of 1 to {ID_CHARACTERS_MAX} characters, or none")
        features = self._features(_one(x))
        if window_id is None:
            window_id, self._next = f"#{self._next}", self._next + 1
        answer = self._core.process(features, None, (window_id,))
        self._core.windows.discard_changes()
        return Prediction(window_id, self._name(answer.prediction[0]), answer.probability[0], str(answer.served_by[0]))

    def label(self, window_id: str, y: Label | None) -> bool:
        """The label of a window observed earlier; None takes it back. False when it is no longer remembered.

        y: class name or index; of a multi-label model or a regression C numbers, NaN where one is unknown.
        """
        return self.label_many((window_id,), [y]) == 1

    def label_many(self, window_ids: Sequence[str], y: Sequence[Label | None]) -> int:
        """`label` for many; returns how many of the windows are still remembered."""
        if isinstance(window_ids, str) or len(window_ids) != len(y):
            raise DataError(f"ids {str(window_ids)[:40]!r} came with {len(y)} labels; give a list of as many ids")
        unknown = self._core.label(window_ids, self._truth(y)).unknown
        self._core.event_log.record(self._clock.wall_s())
        return len(window_ids) - unknown

    def predict_one(self, x: AnyArray) -> Any:
        """`predict` for one window, which is not remembered. x: numeric (*input_shape)."""
        return self.predict(_one(x)).tolist()[0]

    def predict(self, x: AnyArray) -> AnyArray:
        """x: numeric (n, *input_shape) -> class names (n,); multi-label 0 or 1 (n, C); regression values (n, C)."""
        found = predicted(self.predict_proba(x), self.task)
        return np.array(self.classes)[found] if self.task is Task.CLASSIFICATION else found

    def predict_proba(self, x: AnyArray) -> Float32:
        """x: numeric (n, *input_shape) -> float32 (n, C), columns as in `classes`; a regression's values."""
        x = np.asarray(x)
        if x.shape[:1] == (0,):
            return np.zeros((0, len(self.classes)), np.float32)
        return self._core.learner.predict(self._features(x)).probability

    def predict_proba_one(self, x: AnyArray) -> dict[str, float]:
        """Probability by class name, of a regression value by output, for one window. x: numeric (*input_shape)."""
        return dict(zip(self.classes, self.predict_proba(_one(x))[0].tolist(), strict=True))

    def learn_one(self, x: AnyArray, y: Label) -> Learner:
        """Predict, score and learn one labelled window. x: numeric (*input_shape)."""
        return self.learn_many(_one(x), [y])

    def learn_many(self, x: AnyArray, y: Sequence[Label] | AnyArray) -> Learner:
        """Labelled windows in time order, each scored before it is learned. x: (n, *input_shape); y: n labels."""
        if len(y) != len(x):
            raise DataError(f"{len(x)} windows came with {len(y)} labels")
        if len(y):
            self._core.process(self._features(x), self._truth(y))
            self._core.event_log.record(self._clock.wall_s())
        return self

    def partial_fit(self, x: AnyArray, y: Sequence[Label] | AnyArray, classes: Sequence[str] | None = None) -> Learner:
        """`learn_many` by scikit-learn's name. classes: those that may occur; they must be known to the bundle, or
        `new_classes` be set."""
        for name in classes if classes is not None else ():
            self._index(str(name))
        return self.learn_many(x, y)

    def score(self, x: AnyArray, y: Sequence[Label] | AnyArray) -> float:
        """How good the head that serves now is on labelled windows, which it does not learn.

        Accuracy; of a multi-label model subset accuracy; of a regression R2.
        """
        sums = SUMS[self.task].of(self.predict_proba(x), self._truth(y))
        if isinstance(sums, ValueSums):
            return sums.r2
        return sums.subset_accuracy if isinstance(sums, LabelSums) else sums.accuracy

    def save(self, path: str | Path) -> None:
        """Write everything learned, durably; `load` goes on from there to the bit."""
        core = self._core
        windows = {f"window.{i}": payload for i, (_, payload) in enumerate(core.windows.all())}
        blobs = {"learner": core.learner.encode(), "sync": core.sync_state.encode(), **windows}
        blobs |= core.event_log.take_changes(Extent.EVERYTHING).state
        tensors: dict[str, AnyArray] = {name: np.frombuffer(blob, np.uint8) for name, blob in blobs.items()}
        meta = {"next": self._next, "ids": [window_id for window_id, _ in core.windows.all()], "space": self._space}
        write_durably(Path(path), checked(encode_tensors(tensors, meta)))

    def load(self, path: str | Path) -> Learner:
        """Take up what `save` wrote, for the same bundle. Raises StoreError."""
        try:
            payload = Path(path).read_bytes()
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
        body = unchecked_tensors(payload, str(path))
        tensors, meta = decode_tensors(body, str(path), StoreError, STATE_BYTES_MAX)
        if not isinstance(meta, dict) or not {"learner", "sync"} <= set(tensors):
            raise StoreError(f"{path} was not written by Learner.save")
        if meta.get("space", self._space) != self._space:
            raise StoreError(f"{path} was saved with another bundle; open that one, or begin anew without load")
        self._core.learner.restore(tensors["learner"].tobytes())
        rows = [(str(window_id), tensors[f"window.{i}"].tobytes()) for i, window_id in enumerate(meta["ids"])]
        self._core.windows.restore(rows)
        saved = {name: tensors[name].tobytes() for name in CHECKED_NAMES if name in tensors}
        self._core.restore(SyncState.decode(tensors["sync"].tobytes()), saved)
        self._next = int(meta["next"])
        return self

    def _features(self, x: AnyArray) -> Features:
        return self._pipeline.features(np.asarray(x))

    def _name(self, prediction: AnyArray) -> str:
        if self.task is Task.REGRESSION:
            return ""
        chosen = [prediction] if self.task is Task.CLASSIFICATION else np.flatnonzero(prediction)
        return ", ".join(self.classes[int(index)] for index in chosen)

    def _truth(self, given: Sequence[Label | None] | AnyArray) -> AnyArray:
        """Labels as the core takes them: int64 (n,), or targets float32 (n, C). Raises DataError."""
        labels = given.tolist() if isinstance(given, np.ndarray) else list(given)
        if self.task is Task.CLASSIFICATION:
            return np.array([UNLABELLED if label is None else self._index(label) for label in labels], np.int64)
        none = np.full(len(self.classes), np.nan)
        try:
            rows = [none if label is None else np.atleast_1d(np.asarray(label, np.float64)) for label in labels]
            table = np.array(rows).reshape(len(labels), -1)
        except (TypeError, ValueError) as error:
            raise DataError(f"labels of a {self.task} model are {len(self.classes)} numbers each: {error}") from error
        return targets_of(table, len(labels), len(self.classes), self.task)

    def _index(self, label: Label) -> int:
        if isinstance(label, str):
            if label not in self.classes and self._new_classes:
                self._core.add_class(label)
            if label in self.classes:
                return self.classes.index(label)
            raise DataError(f"label {label!r} is no class{nearest(label, self.classes)}")
        if not isinstance(label, int | np.integer) or not 0 <= int(label) < len(self.classes):
            raise DataError(f"label {label} is outside 0..{len(self.classes) - 1}")
        return int(label)


def _one(x: AnyArray) -> AnyArray:
    """One window, also as lists of numbers, as a batch. Raises DataError."""
    if isinstance(x, Mapping):
        raise DataError("a window came as names and values; give an array of its values, in the bundle's order")
    return np.asarray(x)[None]
