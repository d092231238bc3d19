"""The trial of a new bundle beside the one that serves: what it keeps, compares and tells. Never touches the learner.

    window -> kept as it came -> its label comes -> both bundles say what they make of it -> the label is learned
                                                        |
                                          the paired loss is added; both learners of the trial learn it, too

It is a part of the agent, so that what was compared is saved in the transaction that makes the label learned: a label
is compared once or not at all, whatever fails. Whatever the new bundle does wrong ends the trial, and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from edge_agent.learner import Applied, CorrectLabel, HeadLearner, LearnLabel, Operation, apply
from edge_agent.pipeline import Features
from edge_agent.store import Extent, Saved
from edge_agent.trial.compared import Compared
from edge_agent.trial.comparisons import Comparisons
from edge_agent.trial.contest import Contest, contest
from edge_agent.trial.kept_windows import KeptWindows, key_of
from edge_agent.trial.shadow import Shadow, Shadowed, one_line
from edge_agent.trial_settings import TrialSettings
from headway.arrays import AnyArray, Float32
from headway.bundle import Variant
from headway.errors import HeadwayError, StoreError
from headway.fields import Fields, canonical_json, parse_json
from headway.median import median
from headway.samples import no_label, row_label
from headway.wire import TrialReport

HEAD, ROW = "trial", "trial/row/"
NONE, RUNNING, FAILED = "none", "running", "failed"
# what a new bundle's numbers may bring about in a learner; anything else is a mistake of ours
FAULTS = (HeadwayError, ValueError, ArithmeticError)
TIMED_WINDOWS = 63


class Trial:
    """The trial of one device, if there is one. learner: the device's own.

    unsaved: something changed that no commit has taken yet.
    """

    def __init__(self, learner: HeadLearner, settings: TrialSettings) -> None:
        self._learner, self._settings = learner, settings
        self._windows = KeptWindows(settings.kept_bytes_max, settings.kept_windows_max)
        self._compared = Comparisons(ROW, learner.task, settings.labels_max, settings.kept_bytes_max)
        self._sha256, self._state, self._problem = "", NONE, ""
        self._counter = self.missed = 0
        self._contest: Contest | None = None
        self._shadow: Shadow | None = None
        self._ms: deque[Shadowed] = deque(maxlen=TIMED_WINDOWS)
        self.unsaved = False

    @property
    def running(self) -> bool:
        """Whether a bundle is on trial."""
        return self._state == RUNNING

    @property
    def compares(self) -> bool:
        """Whether labels are compared now: the new bundle's process is there, too."""
        return self._shadow is not None and self._contest is not None

    @property
    def problem(self) -> str:
        """Why the trial failed; empty when it did not."""
        return self._problem

    @property
    def dropped(self) -> int:
        """Windows that had to go before their label came."""
        return self._windows.dropped

    @property
    def kept(self) -> int:
        """Windows that wait for their label."""
        return len(self._windows)

    @property
    def report(self) -> TrialReport:
        """How it does, for the aggregator."""
        frozen, served = self._compared.sums
        old_ms = _median(shot.old_ms for shot in self._ms)
        new_ms = _median(shot.new_ms for shot in self._ms)
        counter = self._counter if self._sha256 else 0
        return TrialReport(self._sha256, counter, self._state, frozen, served, old_ms, new_ms, self._problem)

    def begin(self, sha256: str, served: Variant, tried: Variant, shadow: Shadow) -> None:
        """The bundle with this file's sha256 is on trial from now on, or again after a start.

        served: the bundle that serves; shadow: the new one's backbone. A bundle that cannot take over here fails.
        """
        if (self._sha256, self._state) != (sha256, RUNNING):
            self._clear()
            self._sha256, self._state, self._problem = sha256, RUNNING, ""
            self._note()
        try:
            self._contest = contest(self._learner, served, tried, self._compared.all)
            self._shadow = shadow
        except FAULTS as error:
            shadow.close()
            self.fail(sha256, one_line(error))

    def fail(self, sha256: str, problem: str) -> None:
        """The bundle cannot be tried, or no longer. What was compared of it is not kept."""
        if (self._sha256, self._state) == (sha256, FAILED):
            return
        self._clear()
        self._sha256, self._state, self._problem = sha256, FAILED, " ".join(problem.split())[:300]
        self._note()

    def end(self) -> None:
        """Nothing is on trial any more. Does nothing when nothing was."""
        if self._state != NONE:
            self._clear()
            self._sha256, self._state, self._problem = "", NONE, ""
            self._note()

    def stop(self) -> None:
        """The process ends; the trial goes on after the next start."""
        shadow, self._shadow, self._contest = self._shadow, None, None
        if shadow is not None:
            shadow.close()

    def see(self, windows: Float32, features: Features, ids: Sequence[str] | None, labels: AnyArray | None) -> None:
        """Windows that are about to be answered. windows: float32 (n, *input_shape); features: theirs; ids, labels: as
        for `Agent.process`. Those that can have a label are kept."""
        if not self.running or self._compared.full:
            return
        for row in range(len(features)):
            if ids is not None or (labels is not None and not no_label(row_label(labels, row))):
                self._windows.add(key_of(features.rows(row, row + 1)), windows[row : row + 1])

    def beside(self, operation: Operation) -> Applied:
        """`apply` to the device's learner, and what the trial makes of it: labels are compared before they are learned.

        Raises what `apply` does.
        """
        new = self._compare(operation) if self.running and isinstance(operation, LearnLabel) else None
        applied = apply(self._learner, operation)
        if applied.changed and self._contest is not None:
            self._follow(operation, new)
        return applied

    def take_changes(self, extent: Extent) -> Saved:
        windows, rows = self._windows.take_changes(extent), self._compared.take_changes(extent)
        state = windows.state | rows.state
        if self.unsaved or (extent is Extent.EVERYTHING and self._counter):
            state[HEAD] = canonical_json(
                {
                    "sha256": self._sha256,
                    "state": self._state,
                    "problem": self._problem,
                    "counter": self._counter,
                    "missed": self.missed,
                    "dropped": self.dropped,
                }
            )
        self.unsaved = False
        return Saved(state, (*windows.dropped, *rows.dropped))

    def restore(self, saved: Mapping[str, bytes]) -> None:
        if HEAD not in saved:
            return
        fields = Fields(parse_json(saved[HEAD], "saved trial", StoreError), "saved trial", StoreError)
        self._sha256, self._state = fields.text("sha256"), fields.choice("state", (NONE, RUNNING, FAILED))
        self._problem, self._counter = fields.text("problem", length_max=300), fields.integer("counter")
        self.missed = fields.integer("missed")
        self._windows.restore(saved, fields.integer("dropped"))
        fields.finish()
        self._compared.restore(saved)

    def _compare(self, operation: LearnLabel) -> Features | None:
        """Both bundles on a window whose label is about to be learned; returns the new one's features, if any."""
        window = self._windows.take(key_of(operation.features))
        if self._compared.full:
            return None
        if window is None or self._shadow is None or self._contest is None:
            self.missed += 1
            self._note()
            return None
        try:
            shot = self._shadow.features(window)
            outputs = self._contest.outputs(self._learner, operation.features, shot.features)
            row = Compared(operation.number, operation.label, outputs)
            if self._contest.keeps_features():
                row = replace(row, old=operation.features, new=shot.features)
            self._compared.add(row)
        except FAULTS as error:
            self.fail(self._sha256, one_line(error))
            return None
        self._ms.append(shot)
        self._note()
        return shot.features

    def _follow(self, operation: Operation, new: Features | None) -> None:
        if self._contest is None:
            return
        try:
            if isinstance(operation, CorrectLabel) and self._compared.correct(operation):
                self._note()
            self._contest.follow(self._learner, operation, new)
        except FAULTS as error:
            self.fail(self._sha256, one_line(error))

    def _note(self) -> None:
        self._counter, self.unsaved = self._counter + 1, True

    def _clear(self) -> None:
        self.stop()
        self._windows.clear()
        self._compared.clear()
        self.missed = 0
        self._ms.clear()


def _median(times_ms: Iterable[float]) -> float:
    """0 where nothing was measured."""
    measured = [time_ms for time_ms in times_ms if time_ms > 0]
    return median(measured) if measured else 0.0
