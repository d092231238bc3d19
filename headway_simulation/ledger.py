"""Knows every label that was ever learned on any branch of any device, and says where the fleet counts it.

What the aggregator stores of an epoch is explained from the branches' logs: the labels that one branch had labelled
when it committed that counter, less those from before a cut, which an older epoch counts. So each label that the fleet
counts has a name, and a label that counts twice, or is lost, is found by name, whichever branch sent what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from headway.maths import Statistics
from headway_simulation.history import History, LabelChange, Violation

# device and epoch
Key = tuple[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What the aggregator holds of an epoch. labels: by name, with the label under which each is counted.

    branch, place: the branch that told it, and how far its log was then.
    """

    counter: int
    branch: History
    place: int
    labels: Mapping[LabelChange, int]
    tables: Statistics


@dataclass(slots=True)
class Ledger:
    """Of one fleet.

    commits: for each device, epoch and counter the branches that were there, with the place in their log of then.
    bases: for each device and epoch the position at which its counter began.
    counted: what the aggregator holds; ever: what it ever held. removed, removed_epochs: what was taken out of the
    fleet on request; returning: of that, what old tables on the broker bring back for a while; ever_removed: also what
    may be back, because the aggregator was set back. live: by machine, the branch that it is on; branches: by device,
    all that ever were. For the method average: taken: labels of the updates
    that the aggregator holds or held; in_heads: those that were averaged; refused: those of rounds whose head the gate
    did not publish.
    """

    bases: dict[Key, int] = field(default_factory=dict)
    commits: dict[tuple[str, int, int], list[tuple[History, int]]] = field(default_factory=dict)
    counted: dict[Key, Content] = field(default_factory=dict)
    removed: set[LabelChange] = field(default_factory=set)
    returning: set[LabelChange] = field(default_factory=set)
    ever: set[LabelChange] = field(default_factory=set)
    ever_removed: set[LabelChange] = field(default_factory=set)
    removed_epochs: set[Key] = field(default_factory=set)
    live: dict[str, History] = field(default_factory=dict)
    branches: dict[str, list[History]] = field(default_factory=dict)
    taken: dict[Key, set[LabelChange]] = field(default_factory=dict)
    in_heads: set[LabelChange] = field(default_factory=set)
    refused: set[LabelChange] = field(default_factory=set)
    _cuts: dict[tuple[int, int], int] = field(default_factory=dict)

    def committed(self, branch: History, epoch: int, counter: int, base: int) -> None:
        """A branch made this durable. base: the position at which the epoch's counter began."""
        self.bases[branch.device, epoch] = base
        branches = self.branches.setdefault(branch.device, [])
        if not any(other is branch for other in branches):
            branches.append(branch)
        known = self.commits.setdefault((branch.device, epoch, counter), [])
        if not any(other is branch for other, _ in known):
            known.append((branch, len(branch.log)))

    def stored(self, key: Key, counter: int, tables: Statistics) -> None:
        """The aggregator stored the tables of an epoch. Raises Violation when nobody told them, or labels are lost."""
        content, before = self._explained(key, counter, tables), self.counted.get(key)
        lost = set() if before is None else before.labels.keys() - content.labels.keys()
        lost -= content.branch.taken_back(content.place)
        if not tables.samples and key in self.removed_epochs:
            # it was removed, an older copy of the store brought it back, and the device takes it out again
            self.removed |= lost
            self.ever_removed |= lost
            lost = set()
        if lost:
            raise Violation(f"the aggregator lost {named(lost)}, which it had counted under epoch {key[1]}")
        self.counted[key] = content
        self.ever |= content.labels.keys()
        places: dict[LabelChange, Key] = {}
        for other, held in self.counted.items():
            for label in held.labels:
                if label in places:
                    raise Violation(f"{label.window} counts twice: in epochs {places[label][1]} and {other[1]}")
                places[label] = other
        back = self.removed & content.labels.keys()
        if back:
            raise Violation(f"{named(back)} is counted again, though it was removed on request")

    def taken_out(self, epochs: Iterable[Key]) -> None:
        """The aggregator took these out on request."""
        for key in epochs:
            self.removed_epochs.add(key)
            if key in self.counted:
                labels = self.counted.pop(key).labels.keys()
                self.removed |= labels
                self.ever_removed |= labels
            self.ever_removed |= self.taken.get(key, set()) - self.in_heads

    def was_removed(self, branch: History) -> bool:
        """Whether what the branch had told under its epoch was taken out on request."""
        return branch.epoch is not None and (branch.device, branch.epoch) in self.removed_epochs

    def set_back(self, counted: Mapping[Key, Content], waiting: Iterable[tuple[Key, int, Statistics]]) -> None:
        """The aggregator's store is an older copy, which held this, or an empty one. What had been removed stays so,
        unless it is in that copy, or on a branch that has not heard of it, or in whole tables that the broker still
        has for the aggregator (waiting): until the device takes it out again."""
        self.counted = dict(counted)
        held = {label for content in counted.values() for label in content.labels} | self._unheard()
        self.removed -= held
        for key, counter, tables in waiting:
            if key in self.removed_epochs:
                self.returning |= self._explained(key, counter, tables).labels.keys() & self.removed
        self.returning -= held
        self.removed -= self.returning

    def check_removed(self) -> None:
        """When all are at rest: what came back with tables that the broker had is out again. Raises Violation."""
        for (device, epoch), content in self.counted.items():
            if back := (self.returning - self._unheard()) & content.labels.keys():
                raise Violation(
                    f"{named(back)} counts under epoch {epoch} of {device}, though it was removed on request"
                )

    def _unheard(self) -> set[LabelChange]:
        """Labels on branches that have not heard of a removal."""
        return {one.given for branch in self.live.values() for one in branch.labelled() if one.born >= branch.excused}

    def took(self, key: Key, sequence: int, samples: int, delta: bytes) -> None:
        """The aggregator has taken an update. Raises Violation when nobody queued it, or a label of it was taken
        before."""
        known = set().union(*self.taken.values())
        labels = self._of_update(key[0], sequence, samples, delta, known)
        double = known & labels
        if double:
            raise Violation(f"{named(double)} is taken twice, the second time in update {sequence} of {key}")
        self.taken.setdefault(key, set()).update(labels)

    def averaged(self, device: str, sequence: int, samples: int, delta: bytes) -> None:
        """An update went into a head. Raises Violation when nobody queued it, or a label of it is in a head already."""
        self.in_heads |= self._used(device, sequence, samples, delta)

    def used_up(self, device: str, sequence: int, samples: int, delta: bytes) -> None:
        """An update went into a round whose head is not published, and is over. Raises Violation like `averaged`."""
        self.refused |= self._used(device, sequence, samples, delta)

    def _used(self, device: str, sequence: int, samples: int, delta: bytes) -> set[LabelChange]:
        used = self.in_heads | self.refused
        labels = self._of_update(device, sequence, samples, delta, used)
        if labels & used:
            raise Violation(f"{named(labels & used)} is averaged twice, the second time in update {sequence}")
        return labels

    def check_complete(self, branch: History) -> None:
        """Every label of a branch that spoke is counted somewhere. Raises Violation.

        Only what the device said it leaves out may be missing, and none of it may have been counted before.
        """
        counted = {label for content in self.counted.values() for label in content.labels}
        missing = [one.given for one in branch.labelled() if one.born >= branch.excused]
        # where branches disagree whether a window has a label at all, either may have the last word
        taken_back = {label for other in self.branches[branch.device] for label in other.taken_back()}
        missing = [label for label in missing if label not in counted | taken_back | self.ever_removed]
        lost = [label for label in missing if label in self.ever]
        if lost:
            raise Violation(f"{len(lost)} labels of {branch.device} were counted and are not any more: {named(lost)}")
        if len(missing) > branch.left_out:
            raise Violation(
                f"{len(missing)} labels of {branch.device} are counted nowhere: {named(missing)}; it said that it "
                f"leaves out {branch.left_out}"
            )

    def check_averaged(self, branch: History) -> None:
        """The same, for labels in gradient updates: all that are in no head are in the update in the making, or were
        taken by a copy, or the device said that they are left out."""
        taken = {label for (device, _), labels in self.taken.items() if device == branch.device for label in labels}
        waiting = taken - self.in_heads - self.refused - self.ever_removed
        if waiting:
            raise Violation(f"{named(waiting)} was taken, and is in no head")
        missing = (
            branch.learned(branch.excused_steps, branch.covered) - self.in_heads - self.refused - self.ever_removed
        )
        if len(missing) > branch.left_out:
            raise Violation(
                f"{len(missing)} labels of {branch.device} are in no head: {named(missing)}; it said that it leaves "
                f"out {branch.left_out}"
            )

    def _of_update(
        self, device: str, sequence: int, samples: int, delta: bytes, known: set[LabelChange]
    ) -> set[LabelChange]:
        """The labels of an update, whichever branch made it, and under whichever epoch it was sent: where two branches
        were given the same label, and made the same of it, one that is not `known`."""
        found: list[set[LabelChange]] = []
        for branch in self.branches.get(device, []):
            for update in branch.updates:
                if (update.sequence, update.stop - update.start, update.delta) == (sequence, samples, delta):
                    found.append(branch.learned(update.start, update.stop))
        if found:
            return next((labels for labels in found if not labels & known), found[0])
        raise Violation(f"update {sequence} of {device} is not one that it committed")

    def _before_it_began(self, key: Key, counter: int) -> list[tuple[History, int]]:
        """An epoch may count from further back than where it was first saved: what its branches had saved by then
        under the epoch before it is theirs, too, and they end the epoch there when they part from each other."""
        branches = {id(b): b for (*of, _), known in self.commits.items() if tuple(of) == key for b, _ in known}
        position = self.bases.get(key, 0) + counter
        return [(branch, branch.places[position]) for branch in branches.values() if position in branch.places]

    def _explained(self, key: Key, counter: int, tables: Statistics) -> Content:
        known = self.commits.get((*key, counter), []) or self._before_it_began(key, counter)
        ended = self.commits.get((*key, counter - 1), [])
        if not known and ended and not tables.samples:
            # what was removed is kept from coming back by empty tables, under one counter more
            return Content(counter, *ended[-1], {}, tables)
        if not known:
            raise Violation(f"the aggregator has counter {counter} of {key}, which was never committed")
        for branch, place in known:
            labelled = branch.labelled(place)
            cut = self._cuts.get((id(branch), key[1]), 0)
            for first in (cut, *sorted({0, *(one.born for one in labelled), place} - {cut})):
                rest = [one for one in labelled if one.born >= first]
                if branch.tables(rest) == tables:
                    self._cuts[id(branch), key[1]] = first
                    return Content(counter, branch, place, {one.given: one.label for one in rest}, tables)
        raise Violation(
            f"the aggregator has other tables of {key} under counter {counter} ({tables.samples} samples) than the "
            f"{len(known)} branches that committed it can have told"
        )


def named(labels: Iterable[LabelChange]) -> str:
    """The first of them, for a message."""
    return str(min(label.window for label in labels if label.window is not None))
