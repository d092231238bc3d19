"""What the places of heads show, each read in one picture of the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from aggregator.bundle_sender import NOT_DEVICES
from aggregator.heads import GOOD
from aggregator.held_heads import held_version
from aggregator.operations import (
    ComparedHeads,
    FieldView,
    HeadVersion,
    Operator,
    Samples,
    compare_heads,
    fields_now,
    head_versions,
)
from aggregator.page.intervals import Interval
from aggregator.store import DeliveryRow
from aggregator.store.rows import CERTIFICATES, DAYS, HEAD_CANDIDATES, QUARANTINED, SPACES
from headway.errors import RemoteError
from headway.wire import PublishedHead

# of an interval that is drawn, in standard errors
ERRORS = 2.0


@dataclass(frozen=True, slots=True)
class SpaceShown:
    """A feature space. reported: devices with statistics in it; candidate: version of the head that is tried, 0 for
    none; sample: rows that heads are scored on, 0 for none; held: version that an operator wants back, 0 for none."""

    space: str
    bundle: str
    archived_s: float
    reported: int
    heads: tuple[HeadVersion, ...]
    field: FieldView
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
    """Two heads beside each other. gain: None without a sample."""

    found: ComparedHeads
    gain: Interval | None


def heads_shown(operator: Operator, samples: Samples, kept: list[DeliveryRow]) -> HeadsShown:
    """samples: by feature space. kept: bundles."""
    store, candidate = operator.store, _candidate(operator)
    fields = {found.space: found for found in fields_now(store)}
    spaces = []
    for row in store.rows(SPACES).all():
        tried = candidate.version if candidate is not None and candidate.space == row.space else 0
        sample = samples.get(row.space)
        spaces.append(
            SpaceShown(
                row.space, row.bundle, row.archived_s, store.contributor_count(row.space),
                tuple(head_versions(store, row.space, samples)), fields.get(row.space, FieldView(row.space)), tried,
                0 if sample is None else len(sample.labels), held_version(store, row.space),
            )
        )  # fmt: skip
    newest = sorted(spaces, key=lambda shown: (-(shown.heads[0].version if shown.heads else 0), shown.space))
    return HeadsShown(tuple(newest), _bundles(operator, kept))


def pair_shown(operator: Operator, space: str, versions: tuple[int, int], samples: Samples) -> Pair:
    """Raises UnknownNameError for heads that are not kept."""
    found = compare_heads(operator.store, space, *versions, samples)
    gain, error = found.result.gain, found.result.error
    if gain is None or error is None:
        return Pair(found, None)
    return Pair(found, Interval("accuracy", 100 * gain, 100 * ERRORS * error, None, True, " points", digits=1))


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


def _bundles(operator: Operator, kept: list[DeliveryRow]) -> tuple[BundleShown, ...]:
    told = operator.store.registry.totals(("bundle", "bundle_version", "release"), ())
    running = {tuple(named): count for *named, count in told}
    ordered = Counter[str]()
    for (sha256, *_), count in operator.store.ordered(NOT_DEVICES).items():
        ordered[sha256] += count
    return tuple(
        BundleShown(row, running.get((row.name, row.version, row.release), 0), ordered[row.sha256]) for row in kept
    )


def _candidate(operator: Operator) -> PublishedHead | None:
    for row in operator.store.rows(HEAD_CANDIDATES).all():
        if row.name == GOOD:
            continue  # no new head
        try:
            return PublishedHead.decode(row.payload)
        except RemoteError:
            continue  # stored by a version that wrote it otherwise
    return None
