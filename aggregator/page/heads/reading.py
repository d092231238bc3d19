"""What the places of heads show, each read in one picture of the store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aggregator.heads import GOOD, EvaluationSample
from aggregator.held_heads import held_version
from aggregator.operations import Operator, list_deliveries
from aggregator.page.heads.scoring import Compared, compared, sample_of, share_right
from aggregator.store import DeliveryRow, StoredHead
from aggregator.store.rows import (
    CERTIFICATES,
    DAYS,
    HEAD_CANDIDATES,
    HEAD_FIELD,
    QUARANTINED,
    SPACES,
    HeadFieldRow,
    SpaceRow,
)
from headway.errors import RemoteError, UnknownNameError
from headway.wire import PublishedHead

NOBODY = "_heads"
EVENTS_READ_MAX = 200
COLUMNS = (
    "space", "head", "scored", "served_right", "frozen_right", "served_accuracy", "labels", "release", "bundle",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HeadLine:
    """A version. devices, samples: in it; more_samples: than in the one before that is kept, None for the first of
    them. accuracy: on the bundle's sample; trial: what canaries said of it before it was published, or empty; field:
    what devices scored while it was the newest, None without a label."""

    version: int
    method: str
    published_s: float
    devices: int
    samples: int
    size: int
    more_samples: int | None
    accuracy: float | None
    trial: str
    field: HeadFieldRow | None

    @property
    def served(self) -> float | None:
        """Share of right answers in the field while it was the newest."""
        return self.field.served_right / self.field.labels if self.field and self.field.labels > 0 else None

    @property
    def frozen(self) -> float | None:
        """The same of the frozen heads, on the same labels."""
        return self.field.frozen_right / self.field.labels if self.field and self.field.labels > 0 else None


@dataclass
class Field:
    """What the devices of a feature space do now: by the head that their gate has chosen, and how often right."""

    devices: int = 0
    labels: int = 0
    scored: int = 0
    served_right: int = 0
    frozen_right: int = 0
    heads: Counter[str] = field(default_factory=Counter)

    def add(self, head: str, labels: int) -> None:
        """One more device."""
        self.devices += 1
        self.labels += labels
        self.heads[head] += 1

    def score(self, scored: int, served_right: int, frozen_right: int) -> None:
        """And its labels that both heads predicted."""
        self.scored += scored
        self.served_right += served_right
        self.frozen_right += frozen_right

    @property
    def served(self) -> float | None:
        return self.served_right / self.scored if self.scored else None

    @property
    def frozen(self) -> float | None:
        return self.frozen_right / self.scored if self.scored else None

    @property
    def gain(self) -> float | None:
        return (self.served_right - self.frozen_right) / self.scored if self.scored else None


@dataclass(frozen=True, slots=True)
class SpaceShown:
    """A feature space. reported: devices with statistics in it; candidate: version of the head that is tried, 0 for
    none; sample: rows that heads are scored on, 0 for none; held: version that an operator wants back, 0 for none."""

    space: str
    bundle: str
    archived_s: float
    reported: int
    heads: tuple[HeadLine, ...]
    field: Field
    candidate: int
    sample: int
    held: int


@dataclass(frozen=True, slots=True)
class BundleShown:
    """A bundle that is kept. running, ordered: devices."""

    row: DeliveryRow
    running: int
    ordered: int


@dataclass(frozen=True, slots=True)
class HeadsShown:
    spaces: tuple[SpaceShown, ...]
    bundles: tuple[BundleShown, ...]


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What would go with a device. samples: by the bundle of the space that they are in."""

    device: str
    samples: Mapping[str, int]
    days: int
    aside: bool
    certificates: int
    asked: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """Two heads beside each other."""

    space: str
    bundle: str
    first: HeadLine
    second: HeadLine
    versions: tuple[int, ...]
    result: Compared


def heads_shown(operator: Operator, samples: Mapping[str, EvaluationSample], kept: list[DeliveryRow]) -> HeadsShown:
    """samples: by feature space. kept: bundles."""
    store = operator.store
    fields, running = _fields(operator)
    trials, candidate = _trials(operator), _candidate(operator)
    spaces = []
    for row in store.rows(SPACES).all():
        heads = _lines(operator, row, samples.get(row.space), trials)
        tried = candidate.version if candidate is not None and candidate.space == row.space else 0
        sample = samples.get(row.space)
        spaces.append(
            SpaceShown(
                row.space, row.bundle, row.archived_s, store.contributor_count(row.space), heads,
                fields.get(row.space, Field()), tried, 0 if sample is None else len(sample.labels),
                held_version(store, row.space),
            )
        )  # fmt: skip
    ordered = Counter(view.ordered for view in list_deliveries(store))
    bundles = tuple(BundleShown(row, running[row.name, row.release], ordered[str(row.release)]) for row in kept)
    newest = sorted(spaces, key=lambda shown: (-(shown.heads[0].version if shown.heads else 0), shown.space))
    return HeadsShown(tuple(newest), bundles)


def pair_shown(
    operator: Operator, space: str, versions: tuple[int, int], samples: Mapping[str, EvaluationSample]
) -> Pair:
    """Raises UnknownNameError for heads that are not kept."""
    row = operator.store.rows(SPACES).get(space)
    if row is None:
        raise UnknownNameError(f"no head of feature space {space[:16]!r} is kept")
    heads = {head.version: head for head in _decoded(operator, space)}
    for version in versions:
        if version not in heads:
            raise UnknownNameError(f"head {version} is not kept any more; there are {', '.join(map(str, heads))}")
    lines = {line.version: line for line in _lines(operator, row, samples.get(space), _trials(operator))}
    first, second = versions
    result = compared(heads[first], heads[second], samples.get(space))
    return Pair(space, row.bundle, lines[first], lines[second], tuple(heads), result)


def forgetting(operator: Operator, name: str) -> Forgetting:
    """Raises UnknownNameError for a device that is not known."""
    device, store = operator.the(name), operator.store
    samples: Counter[str] = Counter()
    for row in store.rows(SPACES).all():
        held = [part.samples for part in store.contributions(row.space, device)]
        if held:
            samples[row.bundle] += sum(max(count, 0) for count in held)
    good = [row for row in store.rows(CERTIFICATES).where(device=device) if not row.revoked_s]
    return Forgetting(
        device, samples, len(store.rows(DAYS).all(device)), bool(store.rows(QUARANTINED).count(device)),
        len([row for row in good if row.expires_s > operator.now_s]), device in store.removal_requests(),
    )  # fmt: skip


def samples_in(bundles: list[Path]) -> dict[str, EvaluationSample]:
    """By feature space, of those that carry one. In no transaction."""
    found = (sample_of(bundle) for bundle in bundles)
    return {sample.space: sample for sample in found if sample is not None}


def _lines(
    operator: Operator, row: SpaceRow, sample: EvaluationSample | None, trials: Mapping[int, str]
) -> tuple[HeadLine, ...]:
    """The newest first."""
    found: list[HeadLine] = []
    before: int | None = None
    fields = {field.version: field for field in operator.store.rows(HEAD_FIELD).all(row.space)}
    for stored, head in reversed(_stored(operator, row.space)):
        share = None if sample is None else share_right(head, sample)
        more = None if before is None else head.samples - before
        before = head.samples
        found.append(
            HeadLine(
                head.version, head.method, stored.published_s, head.devices, head.samples, len(stored.payload), more,
                share, trials.get(head.version, ""), fields.get(head.version),
            )
        )  # fmt: skip
    return tuple(reversed(found))


def _stored(operator: Operator, space: str) -> list[tuple[StoredHead, PublishedHead]]:
    rows = [row for method in ("exact", "average") for row in operator.store.heads(space, method)]
    found = []
    for row in sorted(rows, key=lambda one: -one.version):
        try:
            found.append((row, PublishedHead.decode(row.payload)))
        except RemoteError:
            continue  # stored by a version that wrote heads otherwise
    return found


def _decoded(operator: Operator, space: str) -> list[PublishedHead]:
    return [head for _, head in _stored(operator, space)]


def _fields(operator: Operator) -> tuple[dict[str, Field], Counter[tuple[str, int]]]:
    """By feature space; and how many devices run each bundle, by name and release."""
    found: dict[str, Field] = {}
    running: Counter[tuple[str, int]] = Counter()
    for space, head, scored, served, frozen, accuracy, labels, release, bundle in operator.store.registry.columns(
        COLUMNS
    ):
        found.setdefault(str(space), Field()).add(str(head) or "unknown", labels)
        if accuracy is not None:
            found[str(space)].score(scored, served, frozen)
        running[str(bundle), int(release)] += 1
    return found, running


def _trials(operator: Operator) -> dict[int, str]:
    """What is still among the newest events."""
    found: dict[int, str] = {}
    for event in operator.store.events(EVENTS_READ_MAX, NOBODY):
        if event.name in ("head-trial", "head-gate"):
            detail = json.loads(event.detail)
            found.setdefault(int(detail.get("head", 0)), f"{detail.get('state', '')}: {detail.get('why', '')}")
    return found


def _candidate(operator: Operator) -> PublishedHead | None:
    for row in operator.store.rows(HEAD_CANDIDATES).all():
        if row.name == GOOD:
            continue  # no new head
        try:
            return PublishedHead.decode(row.payload)
        except RemoteError:
            continue  # stored by a version that wrote it otherwise
    return None
