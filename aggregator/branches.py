"""Tells the branches of a device's history apart: its own, and those of copies of it and of restored backups.

A report from another branch than the stored one is no refusal: it is answered with the last point that both branches
share, and the device goes on from there under an epoch of its own, so that what both hold is counted once.
"""

from __future__ import annotations

from aggregator.effects import Refused
from aggregator.heads import stored_report
from aggregator.store import Store, StoredStatistics
from aggregator.taken_updates import TakenUpdate
from headway.wire import Parting, RunPoint, StatisticsChange, StatisticsReport, Update, epoch_position

# branches that are remembered, and how often one is told where it parts before it counts as a refusal
BRANCHES_MAX, ANSWERS_MAX = 1000, 100


class Branches:
    """Remembers which branches were answered. Methods run in a transaction of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # by device, epoch and run
        self._answers: dict[tuple[str, int, int], int] = {}
        # whose updates do not tell their place, and are of another branch than those that were taken, likewise
        self._others: dict[tuple[str, int, int], None] = {}
        self._counted: dict[tuple[str, int, int], Update] = {}

    def parting(
        self, report: StatisticsReport | StatisticsChange, known: StoredStatistics, read: StatisticsReport | None = None
    ) -> Parting | None:
        """Where the report's branch and the stored one part; None where one is part of the other. read: the stored
        report, where somebody has read it."""
        stored = StatisticsReport.read_history(known.payload) if read is None else read.history
        later = report.counter >= known.counter and report.history.includes(stored.run_id, known.counter)
        earlier = report.counter <= known.counter and stored.includes(report.history.run_id, report.counter)
        if later or earlier:
            return None
        shared = report.history.last_shared(report.counter, stored, known.counter)
        return Parting(RunPoint(report.history.run_id, report.counter), shared)

    def overlap(self, report: StatisticsReport, known: StoredStatistics | None) -> Parting | None:
        """Where an epoch and another one of the same device part whose beginnings count the same labels; None for
        none.

        A store that was set back to an older day makes that possible: a copy of the device that had begun a branch of
        its own, and one that never heard of it, may both find the place of the old epoch free. known: what is stored
        of the report's own epoch.
        """
        if self._store.epoch_count(report.device) == (known is not None):
            return None
        base = epoch_position(report.epoch)
        spans, shared = report.history.spans(report.counter), RunPoint(0, 0)
        for other in self._store.every_statistics(report.statistics.space, report.device):
            other_base = epoch_position(other.epoch)
            if other.epoch == report.epoch or base is None or other_base is None:
                continue
            for run_id, (start, end) in StatisticsReport.read_history(other.payload).spans(other.counter).items():
                first, last = spans.get(run_id, (0, 0))
                # in counters of the report's epoch
                begin, until = max(first, other_base + start - base), min(last, other_base + end - base)
                if run_id and begin < until > shared.counter:
                    shared = RunPoint(run_id, until)
        return Parting(RunPoint(report.history.run_id, report.counter), shared) if shared.counter else None

    def update_parting(self, update: Update, taken: TakenUpdate) -> Parting | None:
        """Where the branch of an update parts from that of the one taken last; None where it goes on from there, or is
        part of it."""
        shared = None
        if not taken.counter or not update.counter or taken.counts(update):
            return None
        if not update.history.includes(taken.history.run_id, taken.counter):
            shared = update.history.last_shared(update.counter, taken.history, taken.counter)
        elif update.since < taken.counter or update.sequence <= taken.sequence:
            # a copy that was made while this update was in the making has told of the labels before
            shared = RunPoint(taken.history.run_id, taken.counter)
        return None if shared is None else Parting(RunPoint(update.run_id, update.counter), shared)

    def is_taken(self, update: Update, taken: TakenUpdate) -> bool:
        """Whether what an update covers was taken before: in this update, or in those of a copy."""
        if taken.counts(update):
            self._counted[update.device, update.epoch, update.run_id] = update
            return True
        if update.sequence == taken.sequence and update.run_id and taken.run_id not in (0, update.run_id):
            self._others[update.device, update.epoch, update.run_id] = None
            if len(self._others) > BRANCHES_MAX:
                del self._others[next(iter(self._others))]
        return update.sequence <= taken.sequence

    def follows(self, update: Update, taken: TakenUpdate, expected: int) -> bool:
        """Whether nothing is missing before an update, whose number should be `expected`."""
        if taken.counter and update.counter and expected == taken.sequence + 1:
            # numbers may be the same where a copy has ended an update elsewhere
            return update.since == taken.counter
        return update.sequence == expected

    def take_counted(self) -> list[Update]:
        """Updates since the last call that were taken before: the newest of each run. Their devices may not know what
        was taken after them, from a copy, and are to hear of these."""
        counted = [*self._counted.values()]
        self._counted.clear()
        return counted

    def check(self, update: Update) -> None:
        """Raises Refused for an update that follows on one that was never taken, because another branch of the device's
        history has used its number."""
        if (update.device, update.epoch, update.run_id) in self._others:
            problem = f"update {update.sequence} follows on one of a number that a copy of the device has used"
            raise Refused("conflict", f"{problem}; it begins a new epoch")

    def answered(self, report: StatisticsReport | StatisticsChange | Update) -> None:
        """A report is answered with where its branch parts. Raises Refused for one that goes on all the same."""
        branch = (report.device, report.epoch, report.history.run_id)
        answers = self._answers[branch] = self._answers.pop(branch, 0) + 1
        if len(self._answers) > BRANCHES_MAX:
            del self._answers[next(iter(self._answers))]
        if answers > ANSWERS_MAX:
            problem = f"counter {report.counter} comes from another branch than what is stored: a copy of the device"
            raise Refused("conflict", f"{problem}; told so {ANSWERS_MAX} times, it begins no new epoch")


def check_same_history(report: StatisticsReport, payload: bytes, known: StoredStatistics) -> None:
    """Different statistics under one counter come from a clone or a restored backup: reported, never merged."""
    if report.counter < known.counter or payload == known.payload:
        return
    stored = stored_report(known)
    if stored is not None and not stored.statistics.same_sums(report.statistics):
        raise Refused("conflict", f"other statistics under counter {report.counter}: a clone, or a restored backup")
