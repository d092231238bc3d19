"""Predicts, scores, learns and gates: all heads of one device behind one object."""

from __future__ import annotations

import numpy as np

from edge_agent.learner.building import build_trainer, statistics_row
from edge_agent.learner.class_names import ClassNames
from edge_agent.learner.compatibility import check_head, check_prior
from edge_agent.learner.doubts import Doubt
from edge_agent.learner.drift import Drift, ErrorDrift
from edge_agent.learner.exact import CANDIDATE, ExactSettings
from edge_agent.learner.gate import FROZEN, Decision, added
from edge_agent.learner.judging import Judging, widened
from edge_agent.learner.label_history import LearnedLabel
from edge_agent.learner.outputs import said
from edge_agent.learner.saved_parts import parts_of, under
from edge_agent.learner.serving import Prediction, ServedTemperatures, beside, between, tempered, with_missed
from edge_agent.learner.trainer import Trainer, learner_kind
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Features
from headway.arrays import Bools, Int8
from headway.bundle import Variant
from headway.class_changes import ClassChanges
from headway.errors import DataError, RemoteError, StoreError
from headway.fields import Fields, JsonValue
from headway.maths import SUMS, AnySums, ClassificationSums, Head, Recent, Task
from headway.samples import Label
from headway.tensors import decode_tensors, encode_tensors
from headway.wire import FleetPrior, PublishedHead, succeeds

FLEET = "fleet"
STATE_BYTES_MAX = 256 << 20


class HeadLearner:
    """Frozen head, the trainer's candidates and the fleet's head behind one gate. Deterministic; does no I/O."""

    def __init__(self, variant: Variant, settings: LearnerSettings, exact: ExactSettings | None = None) -> None:
        self._variant = variant
        self.settings = settings
        self.task = variant.task
        self._frozen = variant.frozen_head
        self.names = ClassNames(variant.classes)
        self.kind = learner_kind(variant, settings)
        self._trainer = build_trainer(variant, settings, self.kind, exact)
        self._judging = Judging(variant, settings, self.names, self._trainer)
        self._temperatures = ServedTemperatures(self.task)
        self._fleet: PublishedHead | None = None
        sums = SUMS[self.task]
        self.served_sums: AnySums = sums.empty(len(variant.classes))
        self.frozen_sums: AnySums = sums.empty(len(variant.classes))
        self._recent: Recent[AnySums] = Recent(sums, settings.recent_rows)

    @property
    def variant(self) -> Variant:
        """The bundle that it learns for."""
        return self._variant

    @property
    def trainer(self) -> Trainer:
        """What learns the candidates; corrected labels included."""
        self._judging.settle()
        return self._trainer

    @property
    def serving(self) -> str:
        """Name of the head in service."""
        self._judging.settle()
        return self._judging.gate.serving

    @property
    def drift(self) -> ErrorDrift:
        """The detector that watches the error of what is served."""
        self._judging.settle()
        return self._judging.drift

    @property
    def classes(self) -> tuple[str, ...]:
        """The bundle's classes, then those added since, in the order they came, by their names here."""
        return self.names.local_names

    @property
    def removed(self) -> frozenset[str]:
        """Classes that are never predicted any more."""
        return self.names.removed

    @property
    def doubts(self) -> list[Doubt]:
        """The newest labels that are probably wrong, by number; of the exact learner."""
        self._judging.settle()
        return self._judging.doubts.all

    @property
    def feature_size(self) -> int:
        """Codes per window, d."""
        return self._variant.features.size

    @property
    def statistics_size(self) -> int:
        """Codes per row of statistics: those of a window, and of its targets where it has some."""
        return self._variant.training_statistics.size

    @property
    def space(self) -> str:
        return self._variant.space

    @property
    def labels(self) -> int:
        """Labelled samples taken in so far."""
        return self.served_sums.samples

    @property
    def labels_of_every_class(self) -> bool:
        """Whether this device has labels of every class that it may predict, as the exact learner counts them.

        Before that, a window of a class without a label is taken for one of the others, and surely so.
        """
        return self.trainer.label_counts is not None and not self._unlabelled.any()

    @property
    def recent_sums(self) -> AnySums:
        """What was served, over the newest `recent_rows` labels."""
        return self._recent.sums(len(self.names))

    @property
    def refused_steps(self) -> int:
        """Gradient steps that were not finite and changed nothing; 0 for the exact learner."""
        return self.trainer.refused_steps

    @property
    def fleet_head(self) -> PublishedHead | None:
        """The newest head of the fleet that was taken up."""
        return self._fleet

    @property
    def fleet_version(self) -> int:
        return 0 if self._fleet is None else self._fleet.version

    def predict(self, features: Features) -> Prediction:
        """Predict with the head in service, as serving.py says. features: n windows."""
        name, unlabelled, calibration = self.serving, self._unlabelled, self._judging.scorer.calibration
        heads, part = self._heads(), self._judging.learned_share
        if part is not None:
            both = (said(heads[each], features, self.names) for each in (FROZEN, CANDIDATE))
            return Prediction(between(*both, part), name)
        outputs = said(heads[name], features, self.names)
        if name == FROZEN:
            frozen = tempered(outputs, calibration.temperature, self.task)
            return Prediction(with_missed(frozen, calibration.missed, self.names.added & self.names.predicted), name)
        share = self._judging.frozen_share
        if share or unlabelled.any():
            frozen = tempered(said(self._frozen, features, self.names), calibration.judged, self.task)
            outputs = beside(outputs, frozen, share, unlabelled, self.names.added)
        return self._temperatures.prediction(outputs, name, float(unlabelled.mean()) if len(unlabelled) else 0.0)

    def learn(self, features: Features, label: Label, served: Prediction) -> None:
        """One labelled window: score every candidate on it first, then learn it, then let the gate decide.

        label: a class index, or targets float32 (C,) with NaN where one is unknown. The label's number, by which
        `correct` finds it again, is `trainer.labels` before it.
        """
        truth, classes = np.asarray(label)[None], len(self.names)
        repeated = self.trainer.candidates() if self._judging.learns_again else ()
        outputs = {n: said(head, features, self.names) for n, head in self._heads().items() if n not in repeated}
        given = widened(served.probability, classes)
        self.served_sums = added(self.served_sums, given, truth)
        self.frozen_sums = added(self.frozen_sums, outputs[FROZEN], truth)
        self._recent.add(given, truth)
        codes, logits = features.codes.copy(), self._frozen.logits(features.embedding)
        entry = LearnedLabel(self.trainer.labels, codes, label, served.probability, logits, outputs, classes)
        if served.served_by != FROZEN and served.served_by in self._heads():
            self._temperatures.learn(entry.number, served, label)
        self._judging.take(entry)

    def take_decisions(self) -> list[Decision]:
        """What the gate decided since the last call."""
        return self._judging.take_decisions()

    def take_drifts(self) -> list[Drift]:
        """What became worse since the last call."""
        return self._judging.take_drifts()

    def error_of(self, served: Prediction, label: Label) -> float:
        """How wrong what was served turned out to be, 0 to 1: see `Scorer.error`."""
        return self._judging.scorer.error(served.probability, np.asarray(label)[None])

    def correct(
        self, number: int, features: Features, before: Label, after: Label | None, *, again: bool = True
    ) -> None:
        """Label `number` was wrong: the learner stands, to the bit, as if it had been `after`, or nothing, at once.

        Of one too old to go back to that holds for statistics, as with again=False. What was served stays as it was.
        """
        correct = self._judging.correct if again else self._judging.correct_tables
        correct(number, features.codes, before, after)
        self._temperatures.correct(number, after)

    def row_of(self, codes: Int8, label: Label) -> tuple[Int8, int]:
        """What the statistics hold of a labelled window: see `statistics_row`."""
        return statistics_row(self._variant, codes, label)

    def add_class(self, name: str) -> None:
        """A class the bundle does not know; it is learned from local labels alone."""
        self._judging.settle()
        if self.task is not Task.CLASSIFICATION and name not in self.classes:
            raise DataError(f"class {name!r} cannot be added: a {self.task} model has the outputs it was built with")
        if not self.names.add(name):
            return
        self.trainer.with_classes(self.names.wire_names)
        for name_of in ("served_sums", "frozen_sums"):
            sums = getattr(self, name_of)
            if isinstance(sums, ClassificationSums):
                setattr(self, name_of, sums.widened(len(self.names)))

    def change_classes(self, changes: ClassChanges) -> tuple[tuple[str, str], ...]:
        """Rename, add and remove classes by name; returns the renames (old, new) that all statistics must follow.

        A removed class is never predicted; its samples stay in the statistics, where they shape the shared covariance.
        A renamed one keeps all it has learned. Raises DataError, and then nothing has changed.
        """
        if self.task is not Task.CLASSIFICATION:
            raise DataError(f"classes cannot be changed: a {self.task} model has the outputs it was built with")
        self._judging.settle()
        self.names.check(changes)
        renames = self.names.rename(changes)
        if renames:
            self.trainer.renamed(renames)
            self._judging.history.renamed(renames)
        for name in changes.add:
            self.add_class(name)
        self.names.remove(changes.remove)
        return renames

    def adopt(self, published: PublishedHead, retained: bool = False) -> bool:
        """Take up a newer head of the fleet as a candidate; False when it is not newer.

        retained: it is what the broker retains, and so the newest whatever its version: an aggregator that lost its
        store, and a broker that lost its memory, count from a lower version on.
        Raises RemoteError when it does not fit this bundle's feature space or classes.
        """
        if self._fleet is not None:
            same = retained and published.encode() == self._fleet.encode()
            if same or not (retained or succeeds(published.version, self._fleet.version)):
                return False
        check_head(published, self._variant)
        self._know(published.head.classes, f"fleet head {published.version}")
        self._fleet = published
        self.trainer.adopt(published)
        return True

    def adopt_prior(self, prior: FleetPrior | None) -> bool:
        """Start from what other devices learned, too; None: know nothing of it any more. False where that changes
        nothing: no more than is known, or labels enough of its own. Raises RemoteError where it fits no such bundle.
        """
        if prior is None:
            return self._judging.drop_prior()
        check_prior(prior, self._variant)
        if not self.wants_prior or prior.samples <= self.prior_samples:
            return False
        statistics = prior.statistics
        if self.task is Task.CLASSIFICATION:
            self._know(statistics.classes, "the fleet's tables")
            added = [name for name in statistics.classes if name not in self._variant.classes]
            statistics = statistics.renamed([(name, self.names.of_fleet(name)) for name in added])
        self.trainer.adopt_prior(statistics)
        self._judging.adopted(statistics)
        return True

    @property
    def wants_prior(self) -> bool:
        """Whether what other devices learned may still help: labels of its own are few."""
        return self.settings.fleet_prior and self.trainer.wants_prior

    @property
    def prior_samples(self) -> int:
        """Samples of other devices that this one started from."""
        return self.trainer.prior_samples

    def encode(self) -> bytes:
        """Everything `restore` needs, as one blob."""
        tensors, values = self.trainer.state()
        tensors = under("trainer", tensors)
        if self._fleet is not None:
            tensors["fleet"] = np.frombuffer(self._fleet.encode(), np.uint8)
        judged_tensors, judged_values = self._judging.state()
        tensors |= under("recent", self._recent.state()) | under("served", self._temperatures.state()) | judged_tensors
        meta: dict[str, JsonValue] = {
            "kind": self.kind,
            "space": self._variant.space,
            "classes": list(self.classes),
            "removed": [*sorted(self.removed)],
            "renamed": dict(sorted(self.names.aliases.items())),
            "trainer": values,
            "served": self.served_sums.to_json(),
            "frozen": self.frozen_sums.to_json(),
            **judged_values,
        }
        return encode_tensors(tensors, meta)

    def restore(self, blob: bytes) -> None:
        """Go on where `encode` left off. Raises StoreError when the blob is damaged or of another learner."""
        tensors, meta = decode_tensors(blob, "saved learner", StoreError, STATE_BYTES_MAX)
        fields = Fields(meta, "saved learner", StoreError)
        fields.choice("kind", (self.kind,))
        fields.choice("space", (self._variant.space,))
        classes, removed = fields.strings("classes"), fields.strings("removed")
        self.names.restore(classes, removed, {old: str(new) for old, new in fields.mapping("renamed").items()})
        if len(classes) > len(self._variant.classes):
            self.trainer.with_classes(self.names.wire_names)
        try:
            self.served_sums = SUMS[self.task].from_json(fields.mapping("served"), len(classes))
            self.frozen_sums = SUMS[self.task].from_json(fields.mapping("frozen"), len(classes))
            fleet = tensors.pop("fleet", None)
            self._fleet = PublishedHead.decode(fleet.tobytes()) if fleet is not None else None
        except RemoteError as error:
            raise StoreError(f"saved learner is damaged: {error}") from error
        try:
            self.trainer.restore(parts_of(tensors, "trainer"), fields.table("trainer"))
            self._judging.restore(tensors, fields)
            self._recent.restore(parts_of(tensors, "recent"))
            self._temperatures.restore(parts_of(tensors, "served"))
        except KeyError as error:
            raise StoreError(f"saved learner lacks tensor {error}") from error
        fields.finish()
        if self.serving not in self._heads():
            raise StoreError(f"saved learner serves {self.serving!r}, which is no candidate")

    def _heads(self) -> dict[str, Head]:
        heads = {FROZEN: self._frozen, **self.trainer.candidates()}
        if self._fleet is not None:
            heads[FLEET] = self._fleet.head
        return heads

    def _know(self, classes: tuple[str, ...], whose: str) -> None:
        """Know the classes that came over the wire. Raises RemoteError."""
        try:
            for name in map(self.names.of_fleet, classes):
                if name not in self.removed:
                    self.add_class(name)
        except DataError as error:
            raise RemoteError(f"{whose}: {error}") from error

    @property
    def _unlabelled(self) -> Bools:
        """Classes that may be predicted and have no label here, bool (C,): no gate can judge what is said of them."""
        counts = self.trainer.label_counts
        if counts is None and isinstance(self.served_sums, ClassificationSums):
            counts = self.served_sums.confusion.sum(axis=1)
        return np.zeros(0, bool) if counts is None or counts.all() else (counts == 0) & self.names.predicted
