"""The learner for programs of your own: no service, no spool, no network.

    from edge_agent import Learner

    learner = Learner.open("model.hwb")
    guess = learner.observe(window)          # predict, and remember the window
    learner.label(guess.id, "walk")          # when its label comes: now, later, corrected, or never

Names follow river and scikit-learn where these have one: `predict_one`, `learn_one`, `learn_many`, `predict`,
`predict_proba`, `score`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.agent import Agent
from edge_agent.config import LearnerSettings, SyncSettings
from edge_agent.history import SyncState
from edge_agent.learner.serving import Learner as ServingLearner
from edge_agent.learner.windows import Windows
from edge_agent.pipeline import Features, Pipeline
from edge_agent.runtime import open_runtime
from headway.arrays import AnyArray, Float32, Int64, Strings
from headway.durable import write_durably
from headway.errors import DataError, StoreError
from headway.fields import nearest
from headway.samples import UNLABELLED
from headway.tensors import decode_tensors, encode_tensors
from headway.variant import Variant, read_variant

STATE_BYTES_MAX = 1 << 30
Label = str | int


@dataclass(frozen=True, slots=True)
class Guess:
    """What the learner says of one window. probability: float32 (C,) over `Learner.classes`; id: for `label`."""

    id: str
    label: str
    probability: Float32
    source: str


class Learner:
    """An on-device variant that keeps learning. Not thread-safe: use it from one thread."""

    def __init__(self, variant: Variant, settings: LearnerSettings | None = None) -> None:
        settings = settings or LearnerSettings()
        self._pipeline = Pipeline(variant, open_runtime(variant))
        self._core = Agent(
            "embedded",
            ServingLearner(variant, settings),
            SyncSettings(),
            SyncState(epoch=0),
            windows=Windows(settings.horizon_rows),
        )
        self._new_classes = settings.new_classes
        self._next = 0

    @classmethod
    def open(cls, bundle: str | Path, settings: LearnerSettings | None = None) -> Learner:
        """From a bundle file. Raises BundleError, RuntimeUnavailableError."""
        return cls(read_variant(Path(bundle)), settings)

    @property
    def classes(self) -> tuple[str, ...]:
        return self._core.learner.classes

    @property
    def serving(self) -> str:
        """Name of the head that serves now."""
        return self._core.learner.serving

    @property
    def metrics(self) -> dict[str, float | int]:
        """Prequential figures of what was served: each window was predicted before its label was used."""
        return self._core.learner.served_sums.summary()

    def observe(self, x: AnyArray, window_id: str | None = None) -> Guess:
        """Predict one window and remember it for `label`. x: numeric (*input_shape)."""
        if window_id is None:
            window_id, self._next = f"#{self._next}", self._next + 1
        answer = self._core.process(self._features(x[None]), None, (window_id,))
        name = self.classes[int(answer.prediction[0])]
        return Guess(window_id, name, answer.probability[0], str(answer.source[0]))

    def label(self, window_id: str, y: Label | None) -> bool:
        """The label of a window observed earlier; None takes it back. False when it is no longer remembered."""
        index = UNLABELLED if y is None else self._index(y)
        return not self._core.label((window_id,), np.array([index], np.int64)).unknown

    def predict_one(self, x: AnyArray) -> str:
        """Class name of one window, which is not remembered. x: numeric (*input_shape)."""
        return str(self.predict(x[None])[0])

    def predict(self, x: AnyArray) -> Strings:
        """Class names of many windows. x: numeric (n, *input_shape) -> text (n,)."""
        names: Strings = np.array(self.classes)[self.predict_proba(x).argmax(axis=1)]
        return names

    def predict_proba(self, x: AnyArray) -> Float32:
        """x: numeric (n, *input_shape) -> float32 (n, C), columns as in `classes`."""
        return self._core.learner.predict(self._features(x)).probability

    def learn_one(self, x: AnyArray, y: Label) -> Learner:
        """Predict, score and learn one labelled window. x: numeric (*input_shape)."""
        return self.learn_many(x[None], [y])

    def learn_many(self, x: AnyArray, y: Sequence[Label] | AnyArray) -> Learner:
        """Labelled windows in time order, each scored before it is learned. x: (n, *input_shape); y: n labels."""
        given = y.tolist() if isinstance(y, np.ndarray) else list(y)
        if len(given) != len(x):
            raise DataError(f"{len(x)} windows came with {len(given)} labels")
        indices = np.array([self._index(label) for label in given], np.int64)
        if len(indices):
            self._core.process(self._features(x), indices)
        return self

    def score(self, x: AnyArray, y: Sequence[Label] | AnyArray) -> float:
        """Accuracy of the head that serves now on labelled windows, without learning them."""
        given = y.tolist() if isinstance(y, np.ndarray) else list(y)
        truth: Int64 = np.array([self._index(label) for label in given], np.int64)
        return float((self.predict_proba(x).argmax(axis=1) == truth).mean())

    def save(self, path: str | Path) -> None:
        """Write everything learned, durably; `load` goes on from there to the bit."""
        core = self._core
        core.windows.take_changes()  # all of them are written, not only those that changed since the last call
        windows = {f"window.{i}": payload for i, (_, payload) in enumerate(core.windows.all())}
        blobs = {"learner": core.learner.encode(), "sync": core.sync_state.encode(), **windows}
        tensors: dict[str, AnyArray] = {name: np.frombuffer(blob, np.uint8) for name, blob in blobs.items()}
        meta = {"next": self._next, "ids": [window_id for window_id, _ in core.windows.all()]}
        write_durably(Path(path), encode_tensors(tensors, meta))

    def load(self, path: str | Path) -> Learner:
        """Take up what `save` wrote, for the same bundle. Raises StoreError."""
        try:
            payload = Path(path).read_bytes()
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
        tensors, meta = decode_tensors(payload, str(path), StoreError, STATE_BYTES_MAX)
        if not isinstance(meta, dict) or not {"learner", "sync"} <= set(tensors):
            raise StoreError(f"{path} was not written by Learner.save")
        self._core.learner.restore(tensors["learner"].tobytes())
        self._core.sync_state = SyncState.decode(tensors["sync"].tobytes())
        rows = [(str(window_id), tensors[f"window.{i}"].tobytes()) for i, window_id in enumerate(meta["ids"])]
        self._core.windows.restore(rows)
        self._next = int(meta["next"])
        return self

    def _features(self, x: AnyArray) -> Features:
        return self._pipeline.features(np.asarray(x))

    def _index(self, label: Label) -> int:
        if isinstance(label, str):
            if label not in self.classes and self._new_classes:
                self._core.add_class(label)
            if label in self.classes:
                return self.classes.index(label)
            raise DataError(f"label {label!r} is no class{nearest(label, self.classes)}")
        if not 0 <= int(label) < len(self.classes):
            raise DataError(f"label {label} is outside 0..{len(self.classes) - 1}")
        return int(label)
