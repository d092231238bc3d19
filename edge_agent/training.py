"""Learns the labels that wait, in steps: as many as the policy and its budget allow, each step one transaction.

may anything be learned now? -> the oldest waiting labels, until the budget is spent or a window comes -> commit

Labels that came while answers are not out yet are held, and learned by `learn_held` between answers and commit.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.agent import Agent
from edge_agent.labels import UNBOUNDED, Policy
from edge_agent.store import RetryingStore
from headway.errors import StoreError
from headway.ports import Clock

# with self-training, which looks at every window after them
LABELS_A_LOOK = 8
# labels that one file may have held, and with which a group of files is answered
HELD_MAX = 32
# for labels that are held, before the commit; and for those of one file of labels, before the rest of them waits
HELD_S_MAX, LATE_S_MAX = 0.5, 0.1


@dataclass(slots=True)
class StepFigures:
    """What steps cost so far."""

    steps: int = 0
    labels: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0

    def add(self, labels: int, seconds: float) -> None:
        """One step more."""
        self.steps, self.labels = self.steps + 1, self.labels + labels
        self.seconds, self.longest_s = self.seconds + seconds, max(self.longest_s, seconds)


class Training:
    """Drives one agent's learning by its policy. busy: the last step ended because its time was over."""

    def __init__(self, clock: Clock, agent: Agent, store: RetryingStore, policy: Policy) -> None:
        self._clock, self._agent, self._store, self._policy = clock, agent, store, policy
        self._alarms = agent.event_log.alarms
        self._counted = agent.learner.labels
        self.figures = StepFigures()
        self.obstacle = ""
        self.busy = False

    def grant(self, *, hold: bool = False) -> None:
        """Before a batch: how many of its labels may be learned while it is answered; the others wait.

        hold: those are learned when `learn_held` is called, so that the answer does not wait for them.
        """
        self._agent.labelling.allow(0 if self._closed() else self._labels_max, hold=hold)

    def learn_held(self) -> None:
        """Learn the labels that are held, before the commit that says so. Where that takes too long, or a window comes
        meanwhile, the others wait for their turn."""
        agent, deadline_s = self._agent, self._clock.monotonic_s() + HELD_S_MAX
        while agent.labelling.held:
            agent.learn_waiting(1)
            if self._policy.interrupted() or self._clock.monotonic_s() >= deadline_s:
                break
        agent.labelling.stop_holding()

    def demand(self) -> None:
        """Learn everything that waits, whatever the trigger, as soon as the machine allows it."""
        self._policy.demand()

    def step(self, *, yields: bool = True) -> int:
        """Learn waiting labels within the budget, and commit. Returns how many.

        yields: to a window that comes meanwhile; where windows come all the time learning would never get its turn.
        """
        learned, self.busy = 0, False
        if len(self._agent.labelling.queue) and not self._closed() and not self._store.degraded:
            learned = self._learn(yields)
        total, now_s = self._agent.learner.labels, self._clock.monotonic_s()
        self._policy.learned(total - self._counted, len(self._agent.labelling.queue), now_s)
        self._counted = total
        return learned

    def _learn(self, yields: bool) -> int:
        try:
            self._agent.outbox.note_stored(*self._store.outbox_size())
        except StoreError as error:
            self._store.failed(error, self._clock.monotonic_s())
            return 0
        agent, start_s, learned = self._agent, self._clock.monotonic_s(), 0
        deadline_s = start_s + self._policy.settings.step_s_max
        while len(agent.labelling.queue) and learned < self._labels_max:
            learned += agent.learn_waiting(min(self._labels_a_look, self._labels_max - learned))
            self.busy = (yields and self._policy.interrupted()) or self._clock.monotonic_s() >= deadline_s
            if self.busy:
                break
        self.figures.add(learned, self._clock.monotonic_s() - start_s)
        agent.event_log.record(self._clock.wall_s())
        self._store.commit(agent.changes(), self._clock.monotonic_s())
        return learned

    @property
    def idle(self) -> bool:
        """Whether nothing waits that may be learned now."""
        return not len(self._agent.labelling.queue) or bool(self.obstacle)

    @property
    def status_detail(self) -> str:
        """For the status line: what waits and why; empty when nothing does."""
        waiting, figures = len(self._agent.labelling.queue), self.figures
        if not waiting:
            return ""
        cost = f", longest step {1e3 * figures.longest_s:.0f} ms" if figures.steps else ""
        return f"{waiting} labels wait" + (f": {self.obstacle}" if self.obstacle else "") + cost

    @property
    def _labels_a_look(self) -> int:
        """Labels between two looks at the clock; after the last of them, guesses about windows without one follow."""
        return LABELS_A_LOOK if self._agent.learner.settings.self_training else 1

    @property
    def _labels_max(self) -> int:
        return self._policy.settings.step_labels_max or UNBOUNDED

    def _closed(self) -> bool:
        agent = self._agent
        if agent.labelling.take_drift_ahead() or agent.event_log.alarms > self._alarms:
            self._alarms = agent.event_log.alarms
            self._policy.alarm()
        self.obstacle = self._policy.obstacle(self._clock.monotonic_s(), len(agent.labelling.queue))
        return bool(self.obstacle)
