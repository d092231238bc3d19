"""Everything that waits for a person in one list, the most urgent first, some at a time.

An item leaves the list by what it asks for: windows by labels, a rollout by a decision, an alert by an acknowledgement
or a silence, or because its reason is over.
"""

from __future__ import annotations

import base64
import binascii
import heapq
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from aggregator.alerts import Severity, Silenced, events_so_far
from aggregator.alerts import State as AlertState
from aggregator.inbox.acting import COUNT
from aggregator.rollouts import State as RolloutState
from aggregator.store import Store
from aggregator.store.rows import ALERT_ACTS, ALERTS, LABELS_WANTED, ROLLOUTS, AlertRow, LabelsWantedRow, RolloutRow
from headway.errors import ConfigError
from headway.fields import canonical_json, parse_json

CURSOR_BYTES_MAX = 2000


class Kind(StrEnum):
    """What an item asks for. alert: of a rule of an operator's own, or of a device that is ill."""

    ROLLOUT = "rollout"
    CERTIFICATE = "certificate"
    QUARANTINE = "quarantine"
    DRIFT = "drift"
    ALERT = "alert"
    LABELS = "labels"


KINDS = tuple(Kind)
# rules whose alerts have a kind of their own; of rollouts that wait the rollout itself is the item
OF_RULES = {"certificate-expires": Kind.CERTIFICATE, "quarantined": Kind.QUARANTINE, "drift": Kind.DRIFT}
ROLLOUT_RULE = "rollout-waits"
# the smaller, the sooner somebody should look
URGENCY = {str(Severity.CRITICAL): 0, str(Severity.WARNING): 2, str(Severity.INFO): 3}
OF_ROLLOUTS, OF_LABELS = 1, 4
Key = tuple[int, float, str, str]


@dataclass(frozen=True, slots=True)
class InboxItem:
    """Something that waits for a person.

    subject: a device, or a rollout; number: of an alert, else 0; windows, margin: of labels, how many windows and how
    certain the least certain is. since_s: wall clock. command: what answers it.
    """

    kind: str
    subject: str
    urgency: int
    since_s: float
    summary: str
    command: str
    number: int = 0
    windows: int = 0
    margin: float = 0.0

    @property
    def key(self) -> Key:
        """By which items are sorted: windows by how uncertain they are, everything else by how long it has waited."""
        by = self.margin if self.kind == Kind.LABELS else self.since_s
        return self.urgency, by, self.subject, f"{self.kind}/{self.number}"


@dataclass(frozen=True, slots=True)
class InboxPage:
    """counts: of each kind, whatever the page shows; windows: that want a label, of all devices together.

    next: for the page after, empty behind the last.
    """

    items: list[InboxItem]
    counts: dict[str, int]
    windows: int
    next: str


def inbox_page(store: Store, kind: str, after: str, count_max: int, now_s: float) -> InboxPage:
    """In a transaction. kind: empty for all; after: `next` of the page before. Raises ConfigError."""
    if kind and kind not in KINDS:
        raise ConfigError(f"the inbox has no kind {kind!r}; known: {', '.join(KINDS)}")
    behind = _read_cursor(after) if after else None
    few, asking = [*_alerts(store, now_s), *_rollouts(store)], store.rows(LABELS_WANTED).all()
    counts = Counter(item.kind for item in few)
    counts[str(Kind.LABELS)] = len(asking)
    waiting: list[tuple[Key, InboxItem | LabelsWantedRow]] = []
    waiting += [(item.key, item) for item in few if kind in ("", item.kind)]
    # of 10,000 devices that ask only those on the page are put into words
    waiting += [(_key_of(row), row) for row in asking if kind in ("", Kind.LABELS)]
    if behind is not None:
        waiting = [one for one in waiting if one[0] > behind]
    first = heapq.nsmallest(count_max + 1, waiting, key=lambda one: one[0])
    page = [_labels(one) if isinstance(one, LabelsWantedRow) else one for _, one in first[:count_max]]
    following = _cursor(first[count_max - 1][0]) if len(first) > count_max else ""
    return InboxPage(page, {str(one): counts[one] for one in KINDS}, sum(row.windows for row in asking), following)


def count_waiting(store: Store, now_s: float) -> int:
    """How many items the whole inbox has, without putting them into words."""
    return len(_alerts(store, now_s)) + len(_rollouts(store)) + store.rows(LABELS_WANTED).count()


def news_of(store: Store) -> tuple[int, ...]:
    """Numbers that change when the inbox does, read in a moment: whether an open page should look again."""
    return store.rows(LABELS_WANTED).count(), store.number(COUNT), events_so_far(store)


def _alerts(store: Store, now_s: float) -> list[InboxItem]:
    """Open, and neither acknowledged nor silenced."""
    seen = {act.alert for act in store.rows(ALERT_ACTS).all()}
    silenced = Silenced(store, now_s)
    rows = store.rows(ALERTS).where(state=str(AlertState.OPEN))
    return [
        _alert(row) for row in rows
        if row.rule != ROLLOUT_RULE and not row.acknowledged_by and row.number not in seen and row not in silenced
    ]  # fmt: skip


def _alert(row: AlertRow) -> InboxItem:
    kind = OF_RULES.get(row.rule, Kind.ALERT)
    urgency = URGENCY.get(row.severity, URGENCY[str(Severity.WARNING)])
    summary = row.summary if kind is not Kind.ALERT else f"{row.rule}: {row.summary}"
    command = f"edge-fleet acknowledge {row.number}"
    return InboxItem(str(kind), row.subject, urgency, row.opened_s, summary, command, row.number)


def _rollouts(store: Store) -> list[InboxItem]:
    return [_rollout(row) for row in store.rows(ROLLOUTS).where(state=str(RolloutState.WAITS))]


def _rollout(row: RolloutRow) -> InboxItem:
    summary = f"stage {row.stage + 1} of the rollout of {row.bundle} {row.version} waits for approval: {row.why}"
    command = f"edge-fleet rollout approve {row.name}"
    return InboxItem(str(Kind.ROLLOUT), row.name, OF_ROLLOUTS, row.state_since_s, summary, command)


def _key_of(row: LabelsWantedRow) -> Key:
    """That of its item."""
    return OF_LABELS, row.margin, row.device, f"{Kind.LABELS}/0"


def _labels(row: LabelsWantedRow) -> InboxItem:
    summary = f"{row.windows} window{'s' if row.windows != 1 else ''} to label"
    command = f"edge-fleet inbox --device {row.device}"
    return InboxItem(str(Kind.LABELS), row.device, OF_LABELS, row.since_s, summary, command, 0, row.windows, row.margin)


def _cursor(key: Key) -> str:
    return base64.urlsafe_b64encode(canonical_json([*key])).decode().rstrip("=")


def _read_cursor(text: str) -> Key:
    refused = ConfigError(f"the cursor {text[:40]!r} is none of the inbox; begin without one")
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        value = parse_json(plain, "cursor", ConfigError, CURSOR_BYTES_MAX)
    except (ValueError, binascii.Error) as error:
        raise refused from error
    match value:
        case [int(urgency), int() | float() as by, str(subject), str(rest)]:
            return urgency, float(by), subject, rest
    raise refused
