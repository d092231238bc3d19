"""Tries a head that the fleet is about to publish: how much worse it is than the fleet's head on this device's labels.

The head itself never becomes a candidate of the gate here. It is asked about each window whose label is about to be
learned, from the features that are there, and what it says is compared with what the fleet's head says; before the
first one, with the frozen head. Of what is served nothing else can change: the head in service, unless that is the
fleet's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from edge_agent.learner import FLEET, CorrectLabel, HeadLearner, LearnLabel, Operation, check_head, said
from edge_agent.store import Extent, Saved
from edge_agent.trial.compared import Compared, Outputs
from edge_agent.trial.comparisons import Comparisons
from edge_agent.trial_settings import TrialSettings
from headway.errors import RemoteError, StoreError
from headway.fields import Fields, canonical_json, parse_json
from headway.wire import PublishedHead, TrialReport

HEAD, PAYLOAD, ROW = "head-trial", "head-trial.head", "head-trial/row/"


class HeadTrial:
    """The trial of one device's newest candidate, if there is one. learner: the device's own, which is only asked.

    unsaved: something changed that no commit has taken yet.
    """

    def __init__(self, learner: HeadLearner, settings: TrialSettings) -> None:
        self._learner, self._enabled = learner, settings.enabled
        self._compared = Comparisons(ROW, learner.task, settings.labels_max, settings.kept_bytes_max)
        self._head: PublishedHead | None = None
        self._payload, self._sha256, self._problem = b"", "", ""
        self._counter = 0
        self.unsaved = False

    @property
    def report(self) -> TrialReport | None:
        """How it does, for the aggregator; None without a candidate."""
        if not self._sha256:
            return None
        frozen, served = self._compared.sums
        state = "failed" if self._problem else "running"
        return TrialReport(self._sha256, self._counter, state, frozen, served, problem=self._problem)

    def received(self, payload: bytes) -> None:
        """The candidate to try; an empty message withdraws it. Raises RemoteError when it is no `PublishedHead`."""
        if not self._enabled or payload == self._payload:
            return
        head = PublishedHead.decode(payload) if payload else None
        self._compared.clear()
        self._head, self._payload, self._problem = head, payload, ""
        self._sha256 = hashlib.sha256(payload).hexdigest() if payload else ""
        self._counter = 0
        if head is not None:
            self._problem = self._misfit(head)
        self._note()

    def watch(self, operation: Operation) -> None:
        """The device is about to do this."""
        if self._head is None or self._problem:
            return
        if isinstance(operation, CorrectLabel) and self._compared.correct(operation):
            self._note()
        if not isinstance(operation, LearnLabel) or self._compared.full:
            return
        learner, features = self._learner, operation.features
        known = learner.fleet_head
        old = said(learner.variant.frozen_head if known is None else known.head, features, learner.names)
        new = said(self._head.head, features, learner.names)
        served = new if learner.serving == FLEET else old
        self._compared.add(Compared(operation.number, operation.label, Outputs(old, new, old, served)))
        self._note()

    def take_changes(self, extent: Extent) -> Saved:
        rows = self._compared.take_changes(extent)
        state, dropped = dict(rows.state), rows.dropped
        if self.unsaved or (extent is Extent.EVERYTHING and self._sha256):
            table = {"counter": self._counter, "problem": self._problem}
            named = {HEAD: canonical_json(table), PAYLOAD: self._payload}
            if self._sha256:
                state |= named
            else:
                dropped = (*dropped, *named)
        self.unsaved = False
        return Saved(state, dropped)

    def restore(self, saved: Mapping[str, bytes]) -> None:
        if HEAD not in saved:
            return
        fields = Fields(
            parse_json(saved[HEAD], "saved trial of a head", StoreError), "saved trial of a head", StoreError
        )
        self._counter, self._problem = fields.integer("counter"), fields.text("problem", length_max=300)
        fields.finish()
        self._payload = saved.get(PAYLOAD, b"")
        self._sha256 = hashlib.sha256(self._payload).hexdigest()
        try:
            self._head = PublishedHead.decode(self._payload)
        except RemoteError as error:
            raise StoreError(f"saved candidate of the fleet is damaged: {error}") from error
        self._compared.restore(saved)

    def _misfit(self, head: PublishedHead) -> str:
        try:
            check_head(head, self._learner.variant)
        except RemoteError as error:
            return str(error)[:300]
        return ""

    def _note(self) -> None:
        self._counter, self.unsaved = self._counter + 1, True
