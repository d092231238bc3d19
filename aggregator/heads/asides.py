"""Sets a device aside that contradicts the others, and counts it again: the row, the event and the words of both."""

from __future__ import annotations

from aggregator.effects import Note
from aggregator.store import EventRow, Store
from aggregator.store.rows import EVERY_EPOCH, QUARANTINED, SUSPICIOUS, VOUCHED, QuarantineRow
from headway.fields import canonical_json

PROBLEM_CHARACTERS_MAX = 400


def put_aside(store: Store, device: str, evidence: str, wall_s: float, events_max: int) -> Note | None:
    """None, and nothing, for a device that an operator vouched for, or set aside since the service last looked."""
    if store.rows(VOUCHED).get(device) is not None or store.rows(QUARANTINED).get(device, EVERY_EPOCH) is not None:
        return None
    problem = f"{SUSPICIOUS}: {evidence}"[:PROBLEM_CHARACTERS_MAX]
    store.rows(QUARANTINED).put(QuarantineRow(device, EVERY_EPOCH, problem, wall_s))
    _tell(store, device, "quarantined", problem, wall_s, events_max)
    ways = f"To count it all the same: edge-fleet readmit {device}; to forget it: edge-fleet remove {device}"
    return Note(f"{device} is set aside: {problem}. {ways}", warning=True)


def count_again(store: Store, device: str, evidence: str, wall_s: float, events_max: int) -> Note | None:
    """A device that no longer contradicts the others; None, and nothing, where an operator has decided since."""
    row = store.rows(QUARANTINED).get(device, EVERY_EPOCH)
    if row is None or not row.problem.startswith(SUSPICIOUS):
        return None
    store.rows(QUARANTINED).remove(device)
    _tell(store, device, "counts-again", evidence, wall_s, events_max)
    return Note(f"{device} no longer contradicts the others and counts again: {evidence}")


def _tell(store: Store, device: str, name: str, problem: str, wall_s: float, events_max: int) -> None:
    detail = canonical_json({"problem": problem}).decode()
    store.add_event(EventRow(device, name, detail, wall_s), events_max)
