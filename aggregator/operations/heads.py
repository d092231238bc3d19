"""What the fleet's heads are worth: on the bundle's own sample, and on the labels that devices reported."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from aggregator.operations.head_scores import Compared, Samples, compared, share_right
from aggregator.operations.operator import Operator
from aggregator.operations.spaces import METHODS
from aggregator.registry import resolved
from aggregator.store import Store, StoredHead
from aggregator.store.rows import HEAD_FIELD, HEAD_SPANS, SPACES, HeadFieldRow
from headway.errors import RemoteError, UnknownNameError
from headway.wire import PublishedHead

NOBODY = "_heads"
EVENTS_READ_MAX = 200
# devices whose labels are right or wrong, which those of a regression are not
SCORED = "served_accuracy >= 0"


@dataclass(frozen=True, slots=True)
class HeadVersion:
    """A head that is kept.

    devices, samples: in it; more_samples: than in the one before that is kept, None for the first of them; size: of
    the message, bytes. accuracy: share of right answers on the bundle's sample, 0..1, None without one. trial: what
    canaries said of it before it was published, or empty. field_labels: that devices reported while it was the
    newest; served, frozen: shares of them that what was served, and the frozen heads, had right, None without a
    label.
    """

    version: int
    method: str
    published_s: float
    devices: int
    samples: int
    size: int
    more_samples: int | None
    accuracy: float | None
    trial: str
    field_labels: int
    served: float | None
    frozen: float | None


@dataclass(frozen=True, slots=True)
class FieldView:
    """What the devices of a feature space do now.

    labels: that they learned; scored: those that both heads predicted; served, frozen: shares of these that were
    right, 0..1, None without any. heads: devices by the head that their gate has chosen, the most frequent first.
    """

    space: str
    devices: int = 0
    labels: int = 0
    scored: int = 0
    served: float | None = None
    frozen: float | None = None
    heads: dict[str, int] = field(default_factory=dict)

    @property
    def gain(self) -> float | None:
        """Served less frozen."""
        return None if self.served is None or self.frozen is None else self.served - self.frozen


@dataclass(frozen=True, slots=True)
class HeadSpanView:
    """A head that served on a device.

    since_s: wall clock; labels: scored until the next one served; served, frozen: shares of them that were right, 0..1,
    None without any.
    """

    head: str
    since_s: float
    labels: int
    served: float | None
    frozen: float | None


@dataclass(frozen=True, slots=True)
class ComparedHeads:
    """Two heads of a feature space beside each other.

    versions: that are kept, the newest first.
    """

    space: str
    bundle: str
    versions: tuple[int, ...]
    first: HeadVersion
    second: HeadVersion
    result: Compared


def fields_now(store: Store) -> list[FieldView]:
    """Of each feature space in which devices report, by space. In a transaction."""
    registry = store.registry
    devices, labels, heads = Counter[str](), Counter[str](), dict[str, Counter[str]]()
    for space, head, count, learned in registry.totals(("space", "head"), ("labels",)):
        devices[space] += count
        labels[space] += learned
        heads.setdefault(space, Counter())[head or "unknown"] += count
    judged = resolved(store, SCORED)
    sums = registry.totals(("space",), ("scored", "served_right", "frozen_right"), judged)
    right = {space: rest for space, _, *rest in sums}
    found = []
    for space in sorted(devices):
        scored, served, frozen = right.get(space, (0, 0, 0))
        found.append(FieldView(
            space, devices[space], labels[space], scored, served / scored if scored else None,
            frozen / scored if scored else None, dict(heads[space].most_common()),
        ))  # fmt: skip
    return found


def heads_of(operator: Operator, name: str) -> list[HeadSpanView]:
    """Each time that another head began to serve on a device, as far as it is kept, the oldest first. Raises
    UnknownNameError."""
    device = operator.the(name)
    return [
        HeadSpanView(row.head, row.since_s, *_shares(row.labels, row.served_right, row.frozen_right))
        for row in operator.store.rows(HEAD_SPANS).all(device)
    ]


def head_versions(store: Store, space: str, samples: Samples) -> list[HeadVersion]:
    """Every head of a feature space that is kept, the newest first. In a transaction. Raises UnknownNameError."""
    if store.rows(SPACES).get(space) is None:
        raise UnknownNameError(f"there is no feature space {space[:16]!r}; `edge-fleet heads` lists them")
    return _versions(store, space, samples, _trials(store))


def compare_heads(store: Store, space: str, first: int, second: int, samples: Samples) -> ComparedHeads:
    """In a transaction. Raises UnknownNameError for heads that are not kept."""
    row = store.rows(SPACES).get(space)
    if row is None:
        raise UnknownNameError(f"no head of feature space {space[:16]!r} is kept")
    heads = {head.version: head for _, head in _stored(store, space)}
    for version in (first, second):
        if version not in heads:
            known = ", ".join(map(str, heads)) or "none"
            raise UnknownNameError(f"head {version} is not kept any more; there are {known}")
    lines = {line.version: line for line in _versions(store, space, samples, _trials(store))}
    result = compared(heads[first], heads[second], samples.get(space))
    return ComparedHeads(space, row.bundle, tuple(heads), lines[first], lines[second], result)


def _versions(store: Store, space: str, samples: Samples, trials: Mapping[int, str]) -> list[HeadVersion]:
    found: list[HeadVersion] = []
    before: int | None = None
    fields = {row.version: row for row in store.rows(HEAD_FIELD).all(space)}
    for stored, head in reversed(_stored(store, space)):
        more = None if before is None else head.samples - before
        before = head.samples
        labels, served, frozen = _in_field(fields.get(head.version))
        found.append(
            HeadVersion(
                head.version, head.method, stored.published_s, head.devices, head.samples, len(stored.payload), more,
                share_right(head, samples.get(space)), trials.get(head.version, ""), labels, served, frozen,
            )
        )  # fmt: skip
    return found[::-1]


def _in_field(row: HeadFieldRow | None) -> tuple[int, float | None, float | None]:
    return (0, None, None) if row is None else _shares(row.labels, row.served_right, row.frozen_right)


def _shares(labels: int, served_right: int, frozen_right: int) -> tuple[int, float | None, float | None]:
    """Labels may be taken back until none is left."""
    return (labels, served_right / labels, frozen_right / labels) if labels > 0 else (0, None, None)


def _stored(store: Store, space: str) -> list[tuple[StoredHead, PublishedHead]]:
    rows = [row for method in METHODS for row in store.heads(space, method)]
    found = []
    for row in sorted(rows, key=lambda one: -one.version):
        try:
            found.append((row, PublishedHead.decode(row.payload)))
        except RemoteError:
            continue  # stored by a version that wrote heads otherwise
    return found


def _trials(store: Store) -> dict[int, str]:
    """What is still among the newest events."""
    found: dict[int, str] = {}
    for event in store.events(EVENTS_READ_MAX, NOBODY):
        if event.name in ("head-trial", "head-gate"):
            detail = json.loads(event.detail)
            found.setdefault(int(detail.get("head", 0)), f"{detail.get('state', '')}: {detail.get('why', '')}")
    return found
